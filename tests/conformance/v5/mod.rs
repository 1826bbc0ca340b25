//! Statements of MQTT 5.0.

mod tight;

mod s1_2_wire;
mod s3_01_connect;
mod s3_01_properties;
mod s3_01_will;
mod s3_02_connack;
mod s3_03_properties;
mod s3_03_publish;
mod s3_04_acks;
mod s3_08_replace;
mod s3_08_subscribe;
mod s3_10_unsubscribe;
mod s3_12_ping;
mod s3_14_disconnect;
mod s3_15_auth;
mod s4_01_state;
mod s4_03_qos_1;
mod s4_03_qos_2;
mod s4_04_redelivery;
mod s4_06_ordering;
mod s4_07_topics;
mod s4_08_shared;
mod s4_09_flow;
mod s4_12_auth;
mod s4_13_errors;
mod s6_0_websocket;
