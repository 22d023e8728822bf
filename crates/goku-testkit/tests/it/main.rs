//! The conformance suite on every store, and on the model.

mod on_model {
    goku_testkit::conformance_suite!(goku_testkit::fixture::OnModel);
}

mod on_sqlite_file {
    goku_testkit::conformance_suite!(goku_testkit::fixture::OnSqliteFile);
}

mod on_sqlite_memory {
    goku_testkit::conformance_suite!(goku_testkit::fixture::OnSqliteMemory);
}
