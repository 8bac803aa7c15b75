//! The page that `cargo xtask report` writes: one HTML file that needs no network, with the plan as a graph, the times of steps, the image
//! by size, what changed, and the packages in it. The data are one block of JSON in the page; `web/` has its style and its scripts.
//! Writes no file and starts no process.

mod bill;
mod files;
mod steps;

pub use bill::{PackageRow, bill_of};
pub use files::{ImageReport, TreeEntry, image_of};
pub use steps::{StepRow, steps_of};

use anyhow::Result;
use executor::TimedRun;
use imagefs::Comparison;
use serde::Serialize;

/// Everything that a page shows.
#[derive(Debug, Default, Serialize)]
pub struct ReportPage {
    /// The page's title.
    pub title: String,
    /// Rows for the head of the page: a name and a value.
    pub facts: Vec<(String, String)>,
    /// The target whose plan is shown.
    pub target: String,
    /// The plan's steps, each after those that it needs.
    pub steps: Vec<StepRow>,
    /// The last runs, the oldest first.
    pub runs: Vec<TimedRun>,
    /// The root file system; none if it has not been built.
    pub image: Option<ImageReport>,
    /// What changed since another build; none if there is no other.
    pub changes: Option<ChangeReport>,
    /// The packages in the image.
    pub packages: Vec<PackageRow>,
}

/// What changed between two builds.
#[derive(Debug, Serialize)]
pub struct ChangeReport {
    /// The name of the old one.
    pub old: String,
    /// The name of the new one.
    pub new: String,
    /// What differs.
    pub found: Comparison,
}

/// The scripts, in the order in which they stand in the page.
const SCRIPTS: [&str; 7] = [
    include_str!("../web/base.js"),
    include_str!("../web/graph.js"),
    include_str!("../web/times.js"),
    include_str!("../web/treemap.js"),
    include_str!("../web/changes.js"),
    include_str!("../web/bill.js"),
    include_str!("../web/main.js"),
];

impl ReportPage {
    /// The page. The same report gives the same bytes.
    pub fn to_html(&self) -> Result<String> {
        // No name in an image may end the block of JSON or begin a comment in it.
        let data = serde_json::to_string(self)?.replace('<', "\\u003c");
        let mut page = String::new();
        let mut rest = include_str!("../web/page.html");
        // One pass: what is filled in is not searched for further marks.
        while let Some((before, after)) = rest.split_once("{{") {
            let (mark, after) = after.split_once("}}").unwrap_or((after, ""));
            page.push_str(before);
            match mark {
                "style" => page.push_str(include_str!("../web/page.css")),
                "data" => page.push_str(&data),
                "scripts" => page.push_str(&SCRIPTS.concat()),
                "title" => page.push_str(&escape(&self.title)),
                _ => {}
            }
            rest = after;
        }
        page.push_str(rest);
        Ok(page)
    }
}

/// A text for HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_the_block_of_data() {
        let evil = "</script><script>alert(1)</script><!--{{scripts}}";
        let report = ReportPage { title: evil.to_owned(), target: evil.to_owned(), ..ReportPage::default() };
        let page = report.to_html().expect("a page");
        assert_eq!(page.matches("<script").count(), 2, "the data and the scripts");
        assert!(!page.contains("alert(1)</script>") && page.contains("<title>&lt;/script&gt;"));
        let data = page.split_once("id=\"data\">").and_then(|(_, rest)| rest.split_once("</script>")).expect("the data").0;
        let value: serde_json::Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(value["target"], evil);
    }

    #[test]
    fn a_page_needs_no_network() {
        let page = ReportPage::default().to_html().expect("a page");
        assert!(page.contains("default-src 'none'"), "the page itself forbids it");
        for word in ["http://", "https://", "src=", "@import", "url("] {
            let found: Vec<&str> =
                page.lines().filter(|line| line.contains(word) && !line.contains("http://www.w3.org/2000/svg")).collect();
            assert!(found.is_empty(), "{word}: {found:?}");
        }
        assert!(!page.contains("{{"), "every mark is filled in");
    }
}
