//! Form of a server's address in a setting: a host, and a port behind a colon. An IPv6 address is in brackets there.

use std::net::Ipv6Addr;

/// Returns true for the number of a port. It has digits alone, although Rust also reads a number with a sign.
pub fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Returns true for an IPv6 address in brackets, and for what `is_name` accepts: a name or an IPv4 address.
pub fn is_host(text: &str, is_name: impl FnOnce(&str) -> bool) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => is_name(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_a_number_in_digits() {
        for port in ["1", "25", "65535", "00025"] {
            assert!(is_port(port), "{port}");
        }
        for port in ["", "0", "+25", "-1", "65536", "port", " 25", "²"] {
            assert!(!is_port(port), "{port}");
        }
    }

    #[test]
    fn host_is_a_name_or_ipv6_in_brackets() {
        let is_host = |text: &str| is_host(text, |name| name == "known");
        for host in ["known", "[::1]", "[2001:db8::1]"] {
            assert!(is_host(host), "{host}");
        }
        for host in ["", "other", "::1", "[::1", "[]", "[known]", "[127.0.0.1]"] {
            assert!(!is_host(host), "{host}");
        }
    }
}
