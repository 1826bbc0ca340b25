//! mqttbytes against us: each known defect, and PUBLISH read by both.

mod defects;
mod publish;
