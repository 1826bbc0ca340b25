//! Seats: taking over, leaving, coming back.
