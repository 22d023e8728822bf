//! To be written.

pub mod mariadb;
