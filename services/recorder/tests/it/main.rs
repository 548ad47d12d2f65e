//! Tests of the recorder over HTTP, in this process or as the real program.

mod cost;
mod damage;
mod dashboards;
mod forward;
mod health;
mod index;
mod logs;
mod losses;
mod malformed;
mod modes;
mod pages;
mod parser;
mod power_cut;
mod protocol;
mod queries;
mod scorecard;
mod sdk;
mod sigkill;
mod size_limits;
mod slow;
mod spool;
mod streamed;
mod stub;
mod support;
mod throughput;
mod traces;
