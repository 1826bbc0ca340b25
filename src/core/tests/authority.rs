//! What a client may do, at the edges.
