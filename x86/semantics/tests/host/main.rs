//! What instructions do, against the host's processor: the functions of values ([`values`]), and whole
//! instructions ([`instructions`]).

mod instructions;
mod numbers;
mod values;
