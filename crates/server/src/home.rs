//! The page at `/`: what this is, how to push, how to ask.

/// The page, as plain text, for a registry that is reached as `host` (`HOST:PORT`), over TLS or without.
#[must_use]
pub(crate) fn page(host: &str, tls: bool) -> String {
    // The name comes from the request: nothing but the characters of a host may be repeated.
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let host = if !host.is_empty() && host.chars().all(fits) { host } else { "localhost:5000" };
    format!(
        "Pedigree: an OCI registry that knows which models used which data.

{push}
Ask:
{ask}
Read:
  curl {scheme}://{host}/api/v1/repositories
  pedigree kits --server {scheme}://{host}
",
        push = push_lines(host, tls),
        ask = ask_lines(host, tls),
        scheme = scheme(tls),
    )
}

/// Lines to paste that push something.
pub(crate) fn push_lines(host: &str, tls: bool) -> String {
    let plain = if tls { "" } else { " --plain-http" };
    format!(
        "Push:
  kit pack . -t {host}/team/model:1.0 && kit push {host}/team/model:1.0{plain}
  docker tag IMAGE {host}/team/image:1.0 && docker push {host}/team/image:1.0
  oras push{plain} {host}/team/files:1.0 FILE
"
    )
}

/// Lines to paste that ask who is affected.
pub(crate) fn ask_lines(host: &str, tls: bool) -> String {
    let scheme = scheme(tls);
    format!(
        "  pedigree trace FILE --server {scheme}://{host}
  curl \"{scheme}://{host}/api/v1/impact?file=sha256:$(sha256sum FILE | cut -d' ' -f1)&wait=30\"
"
    )
}

/// How an address of the registry begins.
pub(crate) const fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn the_page_names_the_host_and_nothing_else() {
        assert!(page("example.com:5000", false).contains("docker push example.com:5000/team/image:1.0"));
        assert!(!page("x<script>", false).contains("script"));
        let secure = page("example.com", true);
        assert!(!secure.contains("plain") && !secure.contains("http:") && secure.contains("https://example.com/api"));
    }
}
