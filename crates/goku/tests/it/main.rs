//! The engine as a program that embeds it sees it.

mod engine;
mod sqlite;
