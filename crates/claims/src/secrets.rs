//! Removes what lets somebody in from what says where something is. Texts that people wrote or machines logged often hold
//! both: passwords before a host, the parameters of presigned URLs.

use std::borrow::Cow;

use oci::Digest;
use percent_encoding::percent_decode_str;

/// Schemes whose text before an `@` is part of the name, and not who asks for it: Azure's containers.
const CONTAINERS: [&str; 4] = ["abfs", "abfss", "wasb", "wasbs"];

/// How far behind a slash the rest of a password is looked for, in bytes.
const PASSWORD: usize = 256;

/// A text without user names and passwords before hosts, and without parameters that let somebody in. What has none
/// stays as it is, and what was cleaned once stays as it is too.
#[must_use]
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    if !text.contains(['?', '#', '&', ';']) && !text.contains("://") {
        return Cow::Borrowed(text);
    }
    // What is left may read as a place with secrets of its own. Each time something goes, so that there is an end.
    let mut clean = without_parameters(&without_userinfo(text));
    loop {
        let again = without_parameters(&without_userinfo(&clean));
        if again == clean {
            return Cow::Owned(clean);
        }
        clean = again;
    }
}

/// Removes `user:password@` from every `scheme://user:password@host` in a text.
fn without_userinfo(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let scheme = before[..at].rsplit(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).next();
        clean.push_str(before);
        let length = authority_length(after);
        let (authority, behind) = after.split_at(length);
        clean.push_str(&named(scheme.unwrap_or_default(), authority));
        rest = behind;
    }
    clean.push_str(rest);
    clean
}

/// How much of what follows `://` says who and where. A password with a slash in it is not valid there and yet
/// happens: then the port is no number, and the host follows an `@` later.
fn authority_length(text: &str) -> usize {
    let end = text.find(['/', '?', '#']).unwrap_or(text.len());
    let (authority, behind) = text.split_at(end);
    let port = authority.split_once(':').map_or("", |(_, port)| port);
    let plausible = authority.contains('@')
        || authority.starts_with('[')
        || port.split([',', ';']).next().is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    match behind[..behind.floor_char_boundary(PASSWORD)].rfind('@') {
        Some(at) if !plausible && !is_digest(&behind[at + 1..]) => {
            let host = &behind[at..];
            end + at + host.find(['/', '?', '#']).unwrap_or(host.len())
        }
        _ => end,
    }
}

/// What an authority names, without who asks.
fn named(scheme: &str, authority: &str) -> String {
    let Some((who, host)) = authority.rsplit_once('@') else { return authority.to_owned() };
    // `oci://repository@sha256:…` has no host.
    if is_digest(host) {
        let repository = who.rsplit_once('@').map_or(who, |(_, repository)| repository);
        return format!("{repository}@{host}");
    }
    let scheme = scheme.to_ascii_lowercase();
    if CONTAINERS.contains(&scheme.as_str()) {
        let container = who.split([':', '@']).next().unwrap_or_default();
        return if container.is_empty() { host.to_owned() } else { format!("{container}@{host}") };
    }
    // `hf://gpt2@revision` is a repository without an organisation. No repository has a colon.
    if scheme == "hf" && !who.contains(':') {
        return authority.to_owned();
    }
    host.to_owned()
}

fn is_digest(text: &str) -> bool {
    text.parse::<Digest>().is_ok()
}

/// Removes secret parameters behind the first `?`, `#`, `&` or `;`. Of a signed URL only what names a version stays: the
/// rest is about the signature, and differs each time.
fn without_parameters(text: &str) -> String {
    let Some(start) = text.find(DELIMITERS) else { return text.to_owned() };
    let mut clean = text[..start].to_owned();
    let signed = parameters(&text[start..]).any(|(_, parameter)| is_signature(&name(parameter)));
    // The delimiter of a parameter that went, for the next that stays: `?a&b` without `a` is `?b`.
    let mut opening = None;
    for (delimiter, parameter) in parameters(&text[start..]) {
        let opens = matches!(delimiter, '?' | '#');
        if opens {
            opening = None;
        }
        if is_secret(parameter) || (signed && parameter.contains('=') && !is_version(&name(parameter))) {
            opening = opening.or(opens.then_some(delimiter));
        } else {
            clean.push(opening.take().unwrap_or(delimiter));
            clean.push_str(parameter);
        }
    }
    clean
}

const DELIMITERS: [char; 4] = ['?', '#', '&', ';'];

/// The parameters of a text that begins with a delimiter, each with the delimiter before it.
fn parameters(mut text: &str) -> impl Iterator<Item = (char, &str)> {
    std::iter::from_fn(move || {
        let delimiter = text.chars().next()?;
        let behind = &text[delimiter.len_utf8()..];
        let end = behind.find(DELIMITERS).unwrap_or(behind.len());
        text = &behind[end..];
        Some((delimiter, &behind[..end]))
    })
}

/// The name of a parameter as it is compared: decoded, lower case, letters and digits only.
pub(crate) fn name(parameter: &str) -> String {
    let name = parameter.split('=').next().unwrap_or_default();
    let name = percent_decode_str(name).decode_utf8_lossy();
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether a parameter names one state of what it belongs to.
pub(crate) fn is_version(name: &str) -> bool {
    matches!(name, "version" | "versionid" | "generation" | "snapshot" | "revision")
}

fn is_signature(name: &str) -> bool {
    name == "sig" || name.ends_with("signature")
}

fn is_secret(parameter: &str) -> bool {
    let name = name(parameter);
    let exact =
        ["sig", "sas", "auth", "key", "pass", "passphrase", "pwd", "psw", "jwt", "user", "username", "sessionid"];
    let parts = ["secret", "passw", "signature", "credential", "accesskey", "apikey", "privatekey", "authorization"];
    let vendors = ["xamz", "xgoog", "xoss", "xcos", "xms"];
    let token = name.contains("token") && !name.contains("tokeniz");
    token
        || exact.contains(&name.as_str())
        || parts.iter().any(|part| name.contains(part))
        || vendors.iter().any(|vendor| name.starts_with(vendor))
        || holds_secret(parameter)
}

/// Whether the value is an encoded URL with secrets of its own.
fn holds_secret(parameter: &str) -> bool {
    let value = percent_decode_str(parameter.split_once('=').map_or("", |(_, value)| value)).decode_utf8_lossy();
    let Some(at) = value.find("://") else { return false };
    let signed = value.find(DELIMITERS).is_some_and(|start| {
        parameters(&value[start..]).any(|(_, inner)| is_signature(&name(inner)) || name(inner).contains("token"))
    });
    signed || value[at..].contains('@')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, clean) in [
            ("https://alice:pw@example.com/x", "https://example.com/x"),
            ("https://alice@example.com/x@y", "https://example.com/x@y"),
            ("git+https://oauth2:tok@en@git.example.com/a.git@main", "git+https://git.example.com/a.git@main"),
            ("see https://a:b@h/x and https://c:d@i/y", "see https://h/x and https://i/y"),
            ("https://u:p/a?s#s@h/x", "https://h/x"),
            ("https://[::1]:5000/x@y", "https://[::1]:5000/x@y"),
            ("kafka://b1:9092,b2:9092/topic@1", "kafka://b1:9092,b2:9092/topic@1"),
            ("abfss://data@account.dfs.example.com/x", "abfss://data@account.dfs.example.com/x"),
            ("abfss://data:key@account.dfs.example.com/x", "abfss://data@account.dfs.example.com/x"),
            ("hf://gpt2@main/config.json", "hf://gpt2@main/config.json"),
            ("hf://user:tok@org/name", "hf://org/name"),
            (&format!("oci://customers@{digest}"), &format!("oci://customers@{digest}")),
            (&format!("oci://customers:1@{digest}"), &format!("oci://customers:1@{digest}")),
            (&format!("oci://me:pw@h.io/c@{digest}"), &format!("oci://h.io/c@{digest}")),
            ("s3://b/k?versionId=3&X-Amz-Signature=1&X-Amz-Date=2&response-type=x", "s3://b/k?versionId=3"),
            ("https://h/x?sv=2020&se=9&sig=abc%3D#top", "https://h/x#top"),
            ("https://h/x?a=1&access_token=t&b=2", "https://h/x?a=1&b=2"),
            ("https://h/x?acc%65ss_TOKEN=t&b=2", "https://h/x?b=2"),
            ("https://h/x#access_token=t", "https://h/x"),
            ("mssql://h:1433;database=d;password=p", "mssql://h:1433;database=d"),
            ("pkg:oci/a@x?repository_url=https%3A%2F%2Fu%3Ap%40h%2Fa&tag=1", "pkg:oci/a@x?tag=1"),
            ("org/name", "org/name"),
            ("://@sha256:://://://@", "://"),
            ("a?tokenizer=b", "a?tokenizer=b"),
        ] {
            assert_eq!(without_secrets(text), clean, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_clean_stays(text in "(://|hf|oci|abfs|[a-z:/@?#&;=%.\\[]|sig=|token=|sha256:){0,30}") {
            let once = without_secrets(&text).into_owned();
            prop_assert_eq!(without_secrets(&once), &*once);
        }
    }
}
