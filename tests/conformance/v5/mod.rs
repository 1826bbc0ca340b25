//! Statements of MQTT 5.0.

mod s1_2_wire;
mod s3_01_connect;
mod s3_01_properties;
mod s3_01_will;
mod s3_02_connack;
mod s3_03_publish;
mod s4_12_auth;
mod s4_13_errors;
mod s6_0_websocket;
