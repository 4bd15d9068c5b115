//! Reading traces back.
