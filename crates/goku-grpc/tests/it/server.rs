//! The server: health, reflection and its end.

use std::time::Duration;

use futures::StreamExt;
use goku::{Client, ErrorKind, SetRequest, StreamRequest};
use goku_grpc::ServerOptions;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::sample::key;
use crate::served::{self, Served};

fn check(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn health_tells_of_the_server_and_of_each_service() {
    let served = Served::new();
    let mut health = HealthClient::new(served.channel());
    for serving in [true, false, true] {
        served.options.health.set_serving(serving).await;
        let status = if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in ["", "gokupb.Goku", "reflexpb.Reflex"] {
            let answer = health.check(check(service)).await.unwrap().into_inner();
            assert_eq!(answer.status(), status, "{service}");
        }
    }
    assert_eq!(health.check(check("other")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_server_serves_once_it_has_started() {
    let (_, endpoint, _serving) = served::on_tcp().await;
    let channel = tonic::transport::Endpoint::from_shared(endpoint)
        .unwrap()
        .connect_lazy();
    let mut health = HealthClient::new(channel);
    let answer = health.check(check("gokupb.Goku")).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
}

macro_rules! reflection_describes_the_services {
    ($name:ident, $version:ident) => {
        #[tokio::test]
        async fn $name() {
            use tonic_reflection::pb::$version::ServerReflectionRequest;
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;

            let served = Served::new();
            let mut reflection = ServerReflectionClient::new(served.channel());
            let mut ask = async |message_request| {
                let request = ServerReflectionRequest {
                    host: String::new(),
                    message_request: Some(message_request),
                };
                let requests = futures::stream::once(std::future::ready(request));
                let answer = reflection.server_reflection_info(requests).await.unwrap();
                let answer = answer.into_inner().next().await.unwrap().unwrap();
                answer.message_response.unwrap()
            };

            let services = ask(MessageRequest::ListServices(String::new())).await;
            let MessageResponse::ListServicesResponse(services) = services else {
                panic!("{services:?}");
            };
            let names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
            for name in ["gokupb.Goku", "reflexpb.Reflex", "grpc.health.v1.Health"] {
                assert!(names.iter().any(|listed| listed == name), "{name} in {names:?}");
            }

            // The path by which clients import it.
            let file = "github.com/luno/reflex/reflexpb/reflex.proto".to_owned();
            let file = ask(MessageRequest::FileByFilename(file)).await;
            assert!(
                matches!(file, MessageResponse::FileDescriptorResponse(_)),
                "{file:?}"
            );
            let method = ask(MessageRequest::FileContainingSymbol("gokupb.Goku.Txn".to_owned())).await;
            assert!(
                matches!(method, MessageResponse::FileDescriptorResponse(_)),
                "{method:?}"
            );
            // Those that are in the details of errors, which tools look up to show them.
            for message in ["jettisonpb.Hop", "jettisonpb.WrappedError"] {
                let file = ask(MessageRequest::FileContainingSymbol(message.to_owned())).await;
                assert!(
                    matches!(file, MessageResponse::FileDescriptorResponse(_)),
                    "{message}: {file:?}"
                );
            }
        }
    };
}
reflection_describes_the_services!(reflection_describes_the_services_in_version_1, v1);
reflection_describes_the_services!(reflection_describes_the_services_in_version_1_alpha, v1alpha);

#[tokio::test]
async fn a_server_that_is_shut_down_ends_streams_and_answers_what_is_under_way() {
    let mut served = Served::new();
    served.fake.keep_streams_open();
    let client = served.client();
    let mut events = client.stream(StreamRequest::default()).await.unwrap();
    let mut health = HealthClient::new(served.channel());
    let mut watch = health.watch(check("")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    served.fake.asked();
    served.fake.hold(true);
    let fake = served.fake.clone();
    let set = client.set(SetRequest::new(key("k"), "v"));
    let shut_down = async {
        fake.was_asked(1).await;
        served.shut_down();
        assert_eq!(events.next().await.unwrap().unwrap_err().kind(), ErrorKind::Stopped);
        assert_eq!(
            watch.message().await.unwrap().unwrap().status(),
            ServingStatus::NotServing
        );
        assert_eq!(watch.message().await.unwrap_err().code(), Code::Unavailable);
        fake.hold(false);
    };
    let (set, ()) = tokio::join!(set, shut_down);
    set.unwrap();
    served.ended().await.unwrap();
}

#[tokio::test]
async fn a_request_that_does_not_end_does_not_keep_the_server() {
    let mut served = Served::with(ServerOptions {
        drain_max: Duration::from_millis(50),
        ..ServerOptions::default()
    });
    let client = served.client();
    served.fake.hold(true);
    let fake = served.fake.clone();
    let set = client.set(SetRequest::new(key("k"), "v"));
    let shut_down = async {
        fake.was_asked(1).await;
        served.shut_down();
        served.ended().await.unwrap();
    };
    let (set, ()) = tokio::join!(set, shut_down);
    assert_eq!(set.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
}

#[tokio::test]
async fn a_server_whose_future_is_dropped_leaves_no_connection() {
    let (_, endpoint, serving) = served::on_tcp().await;
    let client = goku_grpc::GrpcClient::connect(&endpoint).unwrap().retries(false);
    client.get(&key("k")).await.unwrap();
    serving.abort();
    while client.get(&key("k")).await.is_ok() {}
}
