//! Engines whose store fails: at each step, in each way, at the n-th time for n = 1, 2, 3 …

mod call;
mod causes;
mod deadlines;
mod large;
mod late_reads;
mod load;
mod pages;
mod steps;
