//! More connections than the process may have files.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::goku::Goku;

/// What the process may open, and how many connect that say nothing.
const FILES: &str = "128";
const SILENT: usize = 178;

/// A server that may open few files.
fn serve(options: &[&str]) -> Goku {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -n $0 && exec \"$@\"",
            FILES,
            env!("CARGO_BIN_EXE_goku"),
            "serve",
        ])
        .args(["--store", "sqlite::memory:"])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    Goku::run_by(command)
}

fn connect(address: &str) -> TcpStream {
    let connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    connection
}

/// Connections that say nothing took all descriptors, and nobody was answered until they left.
#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let goku = serve(&[]);
    let address = goku.endpoint.strip_prefix("http://").unwrap();
    let mut watch = goku.follow(&["watch"]);
    let mut silent: Vec<TcpStream> = (0..SILENT).map(|_| connect(address)).collect();
    goku.run(&["set", "k", "v"]).done();
    assert_eq!(goku.run(&["get", "k"]).done(), "v");
    assert!(watch.line().contains("\tk\t"), "a stream goes on");
    // The first ones have gone for the last ones.
    for connection in silent.iter_mut().take(SILENT - 128) {
        connection.read_to_end(&mut Vec::new()).unwrap_or_default();
    }
}

#[test]
fn connections_to_the_metrics_that_say_nothing_keep_nobody_out() {
    let goku = serve(&["--metrics-listen", "127.0.0.1:0"]);
    let metrics = goku
        .banner
        .lines()
        .find_map(|line| line.strip_prefix("metrics at "))
        .unwrap();
    let address = metrics
        .strip_prefix("http://")
        .unwrap()
        .strip_suffix("/metrics")
        .unwrap();
    let _silent: Vec<TcpStream> = (0..SILENT).map(|_| connect(address)).collect();
    goku.run(&["set", "k", "v"]).done();
    let mut asks = connect(address);
    asks.write_all(b"GET /metrics HTTP/1.1\r\nHost: goku\r\n\r\n").unwrap();
    let mut answer = String::new();
    asks.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
