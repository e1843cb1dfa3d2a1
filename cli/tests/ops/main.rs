//! What is done to files, the demonstration, the live view, completions and the doctor: the program itself, run.

mod demo;
mod doctor;
mod kills;
mod shell;
mod store;
mod terminal;
mod the;
