//! The conformance suite on every store, and on the model.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[macro_use]
mod servers;

mod compacted;
mod exactly_once;
mod faults;
mod groups;
mod hostile_defaults;
mod killed_consumer;
mod large_batches;
mod large_leases;
mod model;
mod readers;
mod replicas;
mod round_trips;
mod stopped_consumer;
mod store_faults;
mod torn_log;
mod traffic;
mod wire;

mod on_model {
    goku_testkit::conformance_suite!(goku_testkit::fixture::OnModel);
}

mod on_sqlite_file {
    goku_testkit::conformance_suite!(goku_testkit::fixture::OnSqliteFile);
}

mod on_sqlite_memory {
    goku_testkit::conformance_suite!(goku_testkit::fixture::OnSqliteMemory);
}

mod on_grpc_in_memory {
    goku_testkit::conformance_suite!(goku_testkit::fixture::OverDuplex<goku_testkit::fixture::OnSqliteMemory>);
}

mod on_mariadb {
    goku_testkit::conformance_suite!(goku_testkit::fixture::OnMariaDb);
}

mod on_hostile_mariadb {
    goku_testkit::conformance_suite!(goku_testkit::fixture::OnHostileMariaDb);
}

mod on_mariadb_replicas {
    goku_testkit::conformance_suite!(goku_testkit::fixture::OnReplicas);
}

mod on_grpc_over_tcp {
    goku_testkit::conformance_suite!(goku_testkit::fixture::OverTcp<goku_testkit::fixture::OnMariaDb>);
}
