mod disk;
mod ending;
mod feeding;
mod limits;
mod records;
mod size;
mod starting;
mod support;
