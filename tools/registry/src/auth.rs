//! How a client says who it is: the challenge of a registry (RFC 7235), basic authorization, and tokens of a token server (the docs of
//! github.com/distribution/distribution, "Token Authentication").

use crate::{Place, login::Identity, place::is_loopback};
use anyhow::{Context as _, Result, bail};
use child::curl_request::{HttpBody, HttpRequest, HttpResponse};
use common::{base64, error::usage};
use serde::Deserialize;

/// What a registry asks for in the field `WWW-Authenticate`.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// The response of a token server.
#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// What an answer to a challenge is made from.
pub(crate) struct Asker<'a> {
    /// The registry.
    pub place: &'a Place,
    /// The login for it.
    pub identity: Option<Identity>,
    /// Sends a request.
    pub send: &'a dyn Fn(&HttpRequest<'_>) -> Result<HttpResponse>,
}

/// The value of the field `Authorization` that the registry's challenge asks for, for work of this `scope`.
pub(crate) fn answer(asker: &Asker<'_>, challenge: &str, scope: &str) -> Result<String> {
    let host = &asker.place.host;
    match parse(challenge).with_context(|| format!("{host} asks for an authorization that is not known here: `{challenge}`"))? {
        Challenge::Basic => match &asker.identity {
            Some(Identity::Password(user, password)) => Ok(basic(user, password)),
            _ => Err(usage(format!("{host} wants a user and a password\nhint: docker login {host}"))),
        },
        Challenge::Bearer { realm, service } => Ok(format!("Bearer {}", token(asker, &realm, service.as_deref(), scope)?)),
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::encode(format!("{user}:{password}").as_bytes()))
}

/// Asks the token server at `realm`.
fn token(asker: &Asker<'_>, realm: &str, service: Option<&str>, scope: &str) -> Result<String> {
    let authority = realm.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next()).unwrap_or_default();
    let local = is_loopback(authority) && asker.place.is_local();
    let is_safe = realm.starts_with("https://") || local && realm.starts_with("http://");
    if !is_safe {
        bail!("{} names a token server that is not reached by https: `{realm}`", asker.place.host);
    }
    let mut words = vec![format!("scope={}", percent(scope))];
    words.extend(service.map(|service| format!("service={}", percent(service))));
    let mut fields = vec![("Accept", "application/json".to_owned())];
    let joined = words.join("&");
    let separator = if realm.contains('?') { '&' } else { '?' };
    let with_query = format!("{realm}{separator}{joined}");
    let form;
    let request = match &asker.identity {
        Some(Identity::Token(token)) => {
            form = format!("grant_type=refresh_token&client_id=eve-xtask&refresh_token={}&{joined}", percent(token));
            fields.push(("Content-Type", "application/x-www-form-urlencoded".to_owned()));
            HttpRequest { method: "POST", url: realm, fields, body: HttpBody::Bytes(form.as_bytes()), out: None, local }
        }
        login => {
            if let Some(Identity::Password(user, password)) = login {
                fields.push(("Authorization", basic(user, password)));
            }
            HttpRequest { method: "GET", url: &with_query, fields, body: HttpBody::Empty, out: None, local }
        }
    };
    let response = (asker.send)(&request)?;
    let host = &asker.place.host;
    match response.status {
        200 => {}
        401 | 403 => {
            return Err(usage(format!(
                "the token server of {host} refuses the login: status {}\nhint: docker login {host}",
                response.status
            )));
        }
        status => bail!("the token server of {host} answers with status {status}"),
    }
    let tokens: Tokens =
        serde_json::from_slice(&response.body).map_err(|_| anyhow::anyhow!("the token server of {host} sends no token"))?;
    let token = if tokens.token.is_empty() { tokens.access_token } else { tokens.token };
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("the token server of {host} sends no token");
    }
    Ok(token)
}

/// The challenge in a field `WWW-Authenticate`; none if it is of another kind.
fn parse(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut rest) = (None, None, rest.trim());
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            _ => {}
        }
        rest = next.trim_start_matches([',', ' ']);
    }
    Some(Challenge::Bearer { realm: realm?, service })
}

/// `text` as a part of a query (RFC 3986).
fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read() {
        let bearer =
            |realm: &str, service: Option<&str>| Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) });
        for (text, challenge) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("Bearer realm=\"https://a/t?x=1\",service=\"s,1\",scope=\"repository:a:pull,push\"", bearer("https://a/t?x=1", Some("s,1"))),
            ("bearer service=s, realm=\"https://a\"", bearer("https://a", Some("s"))),
            ("Bearer service=\"s\"", None),
            ("Bearer realm=\"https://a", None),
            ("Negotiate", None),
        ] {
            assert_eq!(parse(text), challenge, "{text}");
        }
        assert_eq!(percent("repository:a/b:pull,push"), "repository%3Aa%2Fb%3Apull%2Cpush");
    }
}
