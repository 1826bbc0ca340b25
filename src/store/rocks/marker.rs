//! (interim)
/// m
pub(super) struct Marker;
impl Marker {
    pub(super) fn note(&mut self, _sequence: u64) {}
    pub(super) fn rotate(&mut self, _sequence: u64) {}
    pub(super) fn close_clean(self, _sequence: u64) {}
}
