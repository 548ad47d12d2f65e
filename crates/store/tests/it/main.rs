//! The store against a real MongoDB server and a real Redis.

mod cache;
mod damage;
mod documents;
mod grouped;
mod scanned_rows;
