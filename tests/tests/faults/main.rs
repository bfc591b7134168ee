//! Faults: what breaks, changes or floods while traffic flows, and what must not be felt of it.

mod detach;
mod drain;
mod flood;
mod kill;
mod neighbour;
mod reload;
mod restart;
mod scene;
