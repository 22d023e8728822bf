//! The gate before all services: what nobody has a right to is refused, whatever is called.

use std::time::Duration;

use futures::{StreamExt, stream};
use goku::access::{AccessName, Role, Scope, SettingValue, Token, TokenRecord, Verb};
use goku::gate::Gate;
use goku::{Admin, ConfigureRequest, Engine};
use goku_grpc::ServerOptions;
use goku_grpc::codec::ProtoCodec;
use goku_grpc::proto::FILE_DESCRIPTOR_SET;
use goku_grpc::proto::gokupb as pb;
use goku_grpc::proto::gokupb::goku_client::GokuClient;
use prost::Message;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use tokio::net::TcpListener;

use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};

/// The service that answers whoever asks: a probe has no credentials.
const HEALTH: &str = "grpc.health.v1.Health";

struct World {
    engine: Engine,
    channel: Channel,
    /// Of a caller that may do everything.
    root: Token,
    /// Of a caller that may do nothing.
    nobody: Token,
}

async fn world() -> World {
    let engine = Engine::open("sqlite::memory:").await.unwrap();
    let (root, nobody) = (Token::random().unwrap(), Token::random().unwrap());
    let name = |name: &str| AccessName::new(name).unwrap();
    let record = |token: &Token, identity: &str| TokenRecord {
        roles: vec![name(identity)],
        ..TokenRecord::new(token, name(identity))
    };
    let requests = [
        Role::everything().to_request(&name("root")),
        record(&root, "root").to_request(&name("root")),
        record(&nobody, "nobody").to_request(&name("nobody")),
        goku::access::Auth { enabled: true }.to_request(),
    ];
    for request in requests {
        engine.configure(request.unwrap()).await.unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let gate = Gate::guarding(engine.clone()).await.unwrap();
    tokio::spawn(goku_grpc::serve(
        listener,
        gate,
        ServerOptions::default(),
        std::future::pending(),
    ));
    World {
        engine,
        channel: Endpoint::new(endpoint).unwrap().connect_lazy(),
        root,
        nobody,
    }
}

fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// The names of all services, as the server tells them.
async fn services(world: &World) -> Vec<String> {
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let request = with_token(stream::iter([ask]), Some(world.root.reveal()));
    let mut client = ServerReflectionClient::new(world.channel.clone());
    let mut answers = client.server_reflection_info(request).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    list.service.into_iter().map(|ServiceResponse { name }| name).collect()
}

/// The methods of all services, by the names of those.
fn methods() -> Vec<(String, MethodDescriptorProto)> {
    let sets = [
        FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let files = sets
        .into_iter()
        .flat_map(|set| FileDescriptorSet::decode(set).unwrap().file);
    files
        .flat_map(|file| {
            let package = file.package().to_owned();
            file.service.into_iter().flat_map(move |service| {
                let name = format!("{package}.{}", service.name());
                service.method.into_iter().map(move |method| (name.clone(), method))
            })
        })
        .collect()
}

/// Calls a method with an empty message and waits for its first answer.
async fn call(
    channel: &Channel,
    service: &str,
    method: &MethodDescriptorProto,
    token: Option<&str>,
) -> Result<(), Status> {
    let path: PathAndQuery = format!("/{service}/{}", method.name()).parse().unwrap();
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let codec = ProtoCodec::<(), ()>::default();
    let messages = stream::iter([()]).chain(stream::pending());
    match (method.client_streaming(), method.server_streaming()) {
        (false, false) => grpc.unary(with_token((), token), path, codec).await.map(drop),
        (false, true) => {
            let answers = grpc.server_streaming(with_token((), token), path, codec).await?;
            first(answers.into_inner()).await
        }
        (true, _) => {
            let answers = grpc.streaming(with_token(messages, token), path, codec).await?;
            first(answers.into_inner()).await
        }
    }
}

/// Waits for the first answer of a stream, or until it is plain that it was let through.
async fn first(mut answers: tonic::Streaming<()>) -> Result<(), Status> {
    match tokio::time::timeout(Duration::from_millis(300), answers.next()).await {
        Ok(Some(answer)) => answer,
        Ok(None) | Err(_) => Ok(()),
    }
}

/// A method that is added is found here by its description, and so cannot be left out.
#[tokio::test]
async fn every_method_of_every_service_is_refused_to_those_without_rights() {
    let world = world().await;
    let methods = methods();
    let known: Vec<_> = methods.iter().map(|(service, _)| service.as_str()).collect();
    let served = services(&world).await;
    for service in &served {
        assert!(
            known.contains(&service.as_str()),
            "{service} has no description here: {known:?}"
        );
    }
    assert!(served.iter().any(|service| service == "gokupb.Admin"), "{served:?}");

    let mut refused = 0;
    for (service, method) in &methods {
        let of = async |token| {
            call(&world.channel, service, method, token)
                .await
                .map_err(|status| status.code())
        };
        let name = format!("{service}/{}", method.name());
        if service == HEALTH {
            assert_eq!(of(None).await, Ok(()), "{name}");
            continue;
        }
        assert_eq!(of(None).await, Err(Code::PermissionDenied), "{name}");
        assert_eq!(
            of(Some(world.nobody.reveal())).await,
            Err(Code::PermissionDenied),
            "{name}"
        );
        let unknown = Token::random().unwrap();
        for token in [unknown.reveal(), "abc", ""] {
            assert_eq!(
                of(Some(token)).await,
                Err(Code::Unauthenticated),
                "{name} with {token:?}"
            );
        }
        let allowed = of(Some(world.root.reveal())).await;
        let is_refusal = matches!(allowed, Err(Code::PermissionDenied | Code::Unauthenticated));
        assert!(!is_refusal, "{name}: {allowed:?}");
        refused += 1;
    }
    assert!(refused > 20, "{refused}");
    world.engine.close().await;
}

/// As clients of etcd send it.
#[tokio::test]
async fn a_token_may_come_in_a_header_of_its_own() {
    let world = world().await;
    let mut request = Request::new(pb::StatusRequest::default());
    request
        .metadata_mut()
        .insert("token", world.root.reveal().parse().unwrap());
    GokuClient::new(world.channel.clone()).status(request).await.unwrap();
    world.engine.close().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_right_to_it_and_says_so() {
    let world = world().await;
    let grant = |verbs: &[Verb]| {
        let role = Role {
            grants: vec![goku::access::Grant {
                verbs: verbs.to_vec(),
                scope: Scope::ALL,
            }],
        };
        role.to_request(&AccessName::new("nobody").unwrap()).unwrap()
    };
    world.engine.configure(grant(&[Verb::Watch])).await.unwrap();
    let request = with_token(pb::StreamRequest::default(), Some(world.nobody.reveal()));
    let mut events = GokuClient::new(world.channel.clone())
        .stream(request)
        .await
        .unwrap()
        .into_inner();
    let removed = ConfigureRequest::remove(Role::setting_name(&AccessName::new("nobody").unwrap()).unwrap());
    world.engine.configure(removed).await.unwrap();
    let end = events.next().await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::PermissionDenied);
    assert!(end.message().contains("\"nobody\" may not watch every key"), "{end}");
    world.engine.close().await;
}
