//! Stores through faults: recorded loads, and what is left of them, judged by the invariants.

mod random;
