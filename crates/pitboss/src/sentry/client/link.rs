//! The header `Link` of a list: it names a cursor for the next page, also when there is none.

/// The cursor of the next page, or nothing on the last one.
pub(super) fn next_cursor(header: &str) -> Option<String> {
    header.split(',').find_map(|link| {
        // The address is not used. Its parameters follow it.
        let parameters = link.split_once('>')?.1;
        let value = |name: &str| {
            parameters.split(';').find_map(|parameter| {
                let (found, value) = parameter.trim().split_once('=')?;
                (found == name).then(|| value.trim_matches('"').to_owned())
            })
        };
        let has_more = value("rel")? == "next" && value("results")? == "true";
        if has_more { value("cursor").filter(|cursor| !cursor.is_empty()) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_page_is_the_one_with_results() {
        let header = |results: &str| {
            format!(
                "<https://sentry.io/api/0/x/?&cursor=0:0:1>; rel=\"previous\"; results=\"false\"; cursor=\"0:0:1\", \
                 <https://sentry.io/api/0/x/?&cursor=0:100:0>; rel=\"next\"; results=\"{results}\"; cursor=\"0:100:0\""
            )
        };
        assert_eq!(next_cursor(&header("true")).as_deref(), Some("0:100:0"));
        assert_eq!(next_cursor(&header("false")), None, "the last page names a cursor, too");
        for damaged in
            ["", "next", "<a>", "<a>; rel=\"next\"", "<a>; rel=\"next\"; results=\"true\"; cursor=\"\""]
        {
            assert_eq!(next_cursor(damaged), None, "{damaged}");
        }
    }
}
