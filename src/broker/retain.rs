//! stub
use crate::clock::Now;
use crate::message::Message;
use std::sync::Arc;
/// c
pub struct Retained {}
/// c
pub struct Full;
impl Retained {
    /// c
    pub fn set(&self, _m: Arc<Message>) -> Result<(), Full> {
        todo!()
    }
    /// c
    pub fn clear(&self, _t: &str) -> bool {
        todo!()
    }
    /// c
    pub fn for_each_match(&self, _f: &str, _n: Now, _g: impl FnMut(&Arc<Message>)) {
        todo!()
    }
    /// c
    pub fn count(&self) -> usize {
        todo!()
    }
}
