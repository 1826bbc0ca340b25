//! Statements of MQTT 5.0.

mod s3_03_publish;
