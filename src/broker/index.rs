//! stub
use super::seat::Seat;
use crate::mqtt::QoS;
use crate::topic::filter::TopicFilter;
use std::sync::Arc;
/// c
#[derive(Debug, Clone, Copy)]
pub struct Interest {
    /// c
    pub qos: QoS,
    /// c
    pub no_local: bool,
    /// c
    pub retain_as_published: bool,
    /// c
    pub subscription_id: u32,
}
/// c
pub struct Added {
    /// c
    pub new: bool,
    /// c
    pub filter: Arc<str>,
}
/// c
pub struct Match<'a> {
    /// c
    pub seat: &'a Arc<Seat>,
    /// c
    pub interest: Interest,
    /// c
    pub shared: bool,
}
/// c
#[derive(Debug)]
pub struct Index {}
impl Index {
    /// c
    pub fn subscribe(&self, _f: &TopicFilter<'_>, _s: &Arc<Seat>, _i: Interest) -> Added {
        todo!()
    }
    /// c
    pub fn unsubscribe(&self, _f: &TopicFilter<'_>, _s: &Arc<Seat>) -> bool {
        todo!()
    }
    /// c
    pub fn for_each_match(&self, _t: &str, _f: impl FnMut(Match<'_>)) {
        todo!()
    }
    /// c
    pub fn subscriptions(&self) -> usize {
        todo!()
    }
}
