//! The recorder as its senders and askers see it: over HTTP, in this process or as the real program.

mod bounds;
mod cost;
mod damage;
mod forward;
mod kept;
mod modes;
mod odd;
mod pages;
mod parser;
mod power_cut;
mod protocol;
mod queries;
mod sdk;
mod slow;
mod support;
mod throughput;
mod traces;
