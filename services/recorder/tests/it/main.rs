//! Tests of the recorder over HTTP, in this process or as the real program.

mod bounds;
mod cost;
mod damage;
mod forward;
mod index;
mod kept;
mod losses;
mod modes;
mod odd;
mod pages;
mod parser;
mod power_cut;
mod protocol;
mod queries;
mod sdk;
mod slow;
mod spool;
mod stub;
mod support;
mod throughput;
mod traces;
