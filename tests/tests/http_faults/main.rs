//! Layer 7 under stress: changes under load lose no request, and hostile clients cost little and harm nobody else.

mod floods;
mod load;
mod slow;
mod upheaval;
mod witness;
