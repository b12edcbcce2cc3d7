//! Tests of the ABI's codec: golden JSON both ways, malformed bytes, properties, readable forms.

mod display;
mod document;
mod entry_text;
mod generated;
mod golden;
mod limits;
mod malformed;
mod properties;
mod vref;
