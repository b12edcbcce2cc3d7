//! The `vats` command as people and scripts meet it: the binary is run, and all that it prints is compared.

#![expect(unreachable_pub, reason = "a test binary has no boundary")]

mod archives;
mod bad_input;
mod bench;
mod commands;
mod convert;
mod demo;
mod endurance;
mod faults;
mod harness;
mod killed;
mod policy;
mod scripts;
mod spans;
mod surroundings;
mod travel;
mod upgrade;
mod wat;
