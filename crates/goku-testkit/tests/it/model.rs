//! Stores and the model agree on every answer, row and event of random requests.

use goku_testkit::comparison::{compare_on_clock, compare_on_own_time};
use goku_testkit::fixture::{OnMariaDb, OnReplicas, OnSqliteFile, OnSqliteMemory, OverDuplex};

#[test]
fn sqlite_agrees_with_the_model_on_a_moved_clock() {
    compare_on_clock::<OnSqliteMemory>(150);
}

#[test]
fn sqlite_agrees_with_the_model_on_its_own_time() {
    compare_on_own_time::<OnSqliteFile>(30);
}

#[test]
fn grpc_agrees_with_the_model_on_a_moved_clock() {
    compare_on_clock::<OverDuplex<OnSqliteMemory>>(60);
}

#[test]
fn mariadb_agrees_with_the_model() {
    compare_on_own_time::<OnMariaDb>(40);
}

#[test]
fn two_replicas_agree_with_the_model() {
    compare_on_own_time::<OnReplicas>(30);
}
