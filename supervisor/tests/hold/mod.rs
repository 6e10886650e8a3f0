mod ending;
mod feeding;
mod records;
mod starting;
mod support;
