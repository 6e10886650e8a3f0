mod disk;
mod ending;
mod feeding;
mod records;
mod size;
mod starting;
mod support;
