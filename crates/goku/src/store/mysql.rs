//! The store on MySQL and what speaks its protocol.
