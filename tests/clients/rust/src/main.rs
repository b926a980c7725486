//! async-openai, the client that is strictest about replies. What the runner tells it is in the file that EMB_CLIENT_SETUP names;
//! it prints one line of JSON for each feature it tried.

use std::future::Future;
use std::time::{Duration, Instant};

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::embeddings::{CreateEmbeddingRequest, EmbeddingInput, EncodingFormat};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

type Outcome = Result<(), String>;

/// Reported as the client's version; Cargo.toml pins it.
const VERSION: &str = "0.43.0";

struct Setup(Value);

impl Setup {
    fn text(&self, name: &str) -> String {
        self.0[name].as_str().unwrap_or_default().to_string()
    }

    fn input(&self, name: &str) -> String {
        self.0["texts"][name].as_str().unwrap_or_default().to_string()
    }

    /// Fails unless values are the server's vector of that name, bit by bit.
    fn same(&self, values: &[f32], name: &str) -> Outcome {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        if self.0["vectors"][name] == json!(BASE64_STANDARD.encode(bytes)) {
            Ok(())
        } else {
            Err(format!("the vector of {name} is not the server's: {} values", values.len()))
        }
    }

    fn request(&self, input: EmbeddingInput) -> CreateEmbeddingRequest {
        CreateEmbeddingRequest { model: self.text("model"), input, ..Default::default() }
    }
}

fn at(url: String, key: &str) -> Client<OpenAIConfig> {
    Client::with_config(OpenAIConfig::new().with_api_base(format!("{url}/v1")).with_api_key(key))
}

/// Fails unless the error is one of the API that says all the parts.
fn refused<T>(result: Result<T, OpenAIError>, code: Option<&str>, parts: &[&str]) -> Outcome {
    let error = match result {
        Ok(_) => return Err("no error".into()),
        Err(OpenAIError::ApiError(error)) => error,
        Err(other) => return Err(format!("not an error of the API: {other}")),
    };
    let shown = format!("{error:?}");
    match code.into_iter().chain(parts.iter().copied()).find(|part| !shown.contains(part)) {
        None => Ok(()),
        Some(part) => Err(format!("{part} is not in {shown}")),
    }
}

async fn feature(name: &str, run: impl Future<Output = Outcome>) {
    let outcome = run.await;
    let line = json!({"client": "async-openai (Rust)", "version": VERSION, "dialect": "OpenAI", "feature": name, "ok": outcome.is_ok(),
                      "detail": outcome.err().unwrap_or_default()});
    println!("{line}");
}

fn told<T>(result: Result<T, OpenAIError>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let setup = Setup(serde_json::from_str(&std::fs::read_to_string(std::env::var("EMB_CLIENT_SETUP")?)?)?);
    let api = at(setup.text("url"), "any");
    let text = |name: &str| EmbeddingInput::String(setup.input(name));
    let names: Vec<String> = {
        let mut names: Vec<String> = setup.0["texts"].as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect();
        names.sort();
        names
    };

    feature("single", async {
        let reply = told(api.embeddings().create(setup.request(text("short"))).await)?;
        setup.same(&reply.data[0].embedding, "short")
    })
    .await;
    feature("batch", async {
        let input = EmbeddingInput::StringArray(names.iter().map(|name| setup.input(name)).collect());
        let reply = told(api.embeddings().create(setup.request(input)).await)?;
        names.iter().zip(&reply.data).try_for_each(|(name, row)| setup.same(&row.embedding, name))
    })
    .await;
    feature("float", async {
        let request = CreateEmbeddingRequest { encoding_format: Some(EncodingFormat::Float), ..setup.request(text("short")) };
        let reply = told(api.embeddings().create(request).await)?;
        setup.same(&reply.data[0].embedding, "short")
    })
    .await;
    feature("base64", async {
        let request = CreateEmbeddingRequest { encoding_format: Some(EncodingFormat::Base64), ..setup.request(text("short")) };
        let reply = told(api.embeddings().create_base64(request).await)?;
        let values: Vec<f32> = reply.data[0].embedding.clone().into();
        setup.same(&values, "short")
    })
    .await;
    feature("dimensions", async {
        let request = CreateEmbeddingRequest { dimensions: Some(128), ..setup.request(text("short")) };
        let reply = told(api.embeddings().create(request).await)?;
        setup.same(&reply.data[0].embedding, "short:128")
    })
    .await;
    feature("empty text", async {
        let reply = told(api.embeddings().create(setup.request(text("empty"))).await)?;
        setup.same(&reply.data[0].embedding, "empty")
    })
    .await;
    feature("token ids", async {
        let ids: Vec<u32> = setup.0["ids"].as_array().into_iter().flatten().filter_map(|v| v.as_u64()).map(|v| v as u32).collect();
        let reply = told(api.embeddings().create(setup.request(EmbeddingInput::ArrayOfIntegerArray(vec![ids]))).await)?;
        setup.same(&reply.data[0].embedding, "short")
    })
    .await;
    feature("models", async {
        let list = told(api.models().list().await)?;
        let model = told(api.models().retrieve(&setup.text("model")).await)?;
        if list.data[0] == model { Ok(()) } else { Err(format!("{list:?}, {model:?}")) }
    })
    .await;
    feature("unknown model", async {
        let request = CreateEmbeddingRequest { model: "no-such".into(), ..setup.request(text("short")) };
        refused(api.embeddings().create(request).await, Some("model_not_found"), &["no-such", "404"])
    })
    .await;
    feature("bad request", async {
        let request = CreateEmbeddingRequest { dimensions: Some(100_000), ..setup.request(text("short")) };
        refused(api.embeddings().create(request).await, None, &["dimensions", "400"])
    })
    .await;
    feature("too long", async {
        let request = setup.request(EmbeddingInput::String(setup.text("too_long")));
        refused(api.embeddings().create(request).await, None, &["512 tokens", "602"])
    })
    .await;
    feature("wrong key", async {
        let request = setup.request(text("short"));
        refused(at(setup.text("keyed"), "wrong-key").embeddings().create(request).await, Some("invalid_api_key"), &["401"])
    })
    .await;
    feature("repeats", async {
        let slow = at(setup.text("keyed"), &setup.text("slow_key"));
        let start = Instant::now();
        for _ in 0..3 {
            told(slow.embeddings().create(setup.request(text("short"))).await)?;
        }
        if start.elapsed() > Duration::from_millis(900) { Ok(()) } else { Err("none was refused".into()) }
    })
    .await;
    Ok(())
}
