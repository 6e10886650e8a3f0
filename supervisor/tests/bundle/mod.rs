mod command_line;
mod contents;
mod interrupted;
mod signed;
mod staging;
mod support;
