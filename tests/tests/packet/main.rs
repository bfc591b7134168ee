//! One packet at a time through the loaded program: every row of the forwarding table, and every kind of odd packet, each
//! with its verdict, the whole packet that comes out, and the counters that move.

mod backends;
mod flood;
mod guard;
mod harness;
mod icmp;
mod odd;
mod row;
mod select;
mod shape;
mod tcp;
mod udp;
