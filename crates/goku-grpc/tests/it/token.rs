//! The token that a client sends with each call.

use std::convert::Infallible;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use goku::{Client, ErrorKind, Key, StreamRequest};
use goku_grpc::{GrpcClient, Token};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// The headers `authorization` of all calls that came.
type Shown = Arc<Mutex<Vec<String>>>;

/// A server that refuses all calls, and what they had; its endpoint.
async fn refusing() -> (Shown, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let shown = Shown::default();
    let noted = shown.clone();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let noted = noted.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let token = request
                    .headers()
                    .get("authorization")
                    .map(|token| token.to_str().unwrap().to_owned());
                noted.lock().unwrap().push(token.unwrap_or_default());
                let refusal = Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", "12")
                    .body(Empty::<Bytes>::new());
                std::future::ready(Ok::<_, Infallible>(refusal.unwrap()))
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(io), answer),
            );
        }
    });
    (shown, endpoint)
}

async fn get(client: &GrpcClient) {
    let refused = client.get(&Key::new("k").unwrap()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
}

#[tokio::test]
async fn each_call_has_the_token() {
    let (shown, endpoint) = refusing().await;
    get(&GrpcClient::connect(&endpoint).unwrap()).await;
    let client = GrpcClient::builder()
        .token(Token::new("goku_1").unwrap())
        .connect(&endpoint)
        .unwrap();
    get(&client).await;
    assert!(client.stream(StreamRequest::default()).await.is_err());
    assert_eq!(*shown.lock().unwrap(), ["", "Bearer goku_1", "Bearer goku_1"]);
    assert!(!format!("{client:?}").contains("goku_1"));
}

#[tokio::test]
async fn a_token_of_a_file_is_sent_as_it_is_there() {
    let (shown, endpoint) = refusing().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "goku_1\n").unwrap();
    let client = GrpcClient::builder()
        .token(Token::from_file(&path).unwrap())
        .connect(&endpoint)
        .unwrap();
    get(&client).await;
    fs::write(&path, "goku_2\n").unwrap();
    while shown.lock().unwrap().last().unwrap() != "Bearer goku_2" {
        tokio::time::sleep(Duration::from_millis(10)).await;
        get(&client).await;
    }
    assert_eq!(shown.lock().unwrap()[0], "Bearer goku_1");
}
