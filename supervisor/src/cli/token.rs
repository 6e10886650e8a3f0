//! `token new|list|revoke`.

use super::output::{CliError, Output};
use super::place::Place;
use crate::command::{NewToken, RevokeToken};
use clap::Subcommand;
use holdfast_shared::token::{Scope, TokenRole};
use hyper::Method;
use serde_json::Value;
use std::time::Duration;

/// A token is one record in the supervisor's journal.
const ANSWERS: Duration = Duration::from_secs(10);

/// Tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is shown this once.
    New {
        /// operator: everything; viewer: reading only.
        #[arg(long, value_parser = ["operator", "viewer"], default_value = "operator")]
        role: String,
        /// A task it is for, alone or with others: `task:NAME`; may be given again. Default: all.
        #[arg(long, value_name = "task:NAME", value_parser = task_of_scope)]
        scope: Vec<String>,
        /// In whose name its bearer acts.
        #[arg(long)]
        principal: Option<String>,
        /// Lifetime: 90s, 10m, 2h, 1d. Default: for ever.
        #[arg(long, value_name = "TIME")]
        expires_in: Option<String>,
    },
    /// List tokens.
    List,
    /// Make a token invalid, at once.
    Revoke {
        /// Its id, as in the list.
        id: String,
    },
}

/// Runs it.
pub fn token(place: &Place, command: TokenCommand, output: &Output) -> Result<u8, CliError> {
    super::output::block_on(async {
        let client = place.supervisor();
        match command {
            TokenCommand::New { role, scope, principal, expires_in } => {
                let role = if role == "viewer" { TokenRole::Viewer } else { TokenRole::Operator };
                let expires_in_sec = expires_in.as_deref().map(super::logs::seconds).transpose()?;
                let request = NewToken { role, scope: Scope { tasks: scope }, principal, expires_in_sec };
                let answer: Value = client
                    .post("/v1/tokens", &request, ANSWERS)
                    .await
                    .map_err(|error| place.explain(error))?;
                output.result(&answer, || text(&answer["token"]));
            }
            TokenCommand::List => {
                let answer: Value =
                    client.get("/v1/tokens", ANSWERS).await.map_err(|error| place.explain(error))?;
                output.result(&answer, || table(&answer["tokens"]));
            }
            TokenCommand::Revoke { id } => {
                let request = RevokeToken { id };
                let answer: Value = client
                    .call(Method::DELETE, "/v1/tokens", Some(&request), ANSWERS)
                    .await
                    .map_err(|error| place.explain(error))?;
                output.result(&answer, || format!("{} is revoked.", text(&answer["revoked"])));
            }
        }
        Ok(crate::exit::FINE)
    })
}

fn task_of_scope(text: &str) -> Result<String, String> {
    let task = text.strip_prefix("task:").filter(|task| !task.is_empty());
    task.map(str::to_owned).ok_or_else(|| "a scope is task:NAME".to_owned())
}

fn table(tokens: &Value) -> String {
    let row = |token: &Value| {
        let expires = token["expires_at"].as_i64().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        format!(
            "{:<12} {:<9} {:<20} {:<20} {}",
            text(&token["id"]),
            text(&token["role"]),
            text(&token["principal"]),
            scope(&token["scope"]),
            expires.map_or("never expires".to_owned(), |at| format!("expires {at}"))
        )
    };
    tokens.as_array().into_iter().flatten().map(row).collect::<Vec<String>>().join("\n")
}

fn scope(value: &Value) -> String {
    let tasks: Vec<String> = value["tasks"].as_array().into_iter().flatten().map(text).collect();
    if tasks.is_empty() { "all tasks".to_owned() } else { tasks.join(",") }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
