//! In which language the page is shown.

/// French is the house's own language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Locale {
    #[default]
    Fr,
    En,
}

impl Locale {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "fr" => Some(Locale::Fr),
            "en" => Some(Locale::En),
            _ => None,
        }
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Locale::Fr => "fr",
            Locale::En => "en",
        }
    }

    /// What the visitor chose before (the cookie `lang`), else what the browser prefers.
    pub(crate) fn choose(cookies: &str, accepted: &str) -> Self {
        let chosen = cookies.split(';').find_map(|c| c.trim().strip_prefix("lang=")).and_then(Locale::parse);
        chosen.unwrap_or_else(|| Self::preferred(accepted))
    }

    /// The first language of ours by falling weight in an `Accept-Language` header.
    fn preferred(accepted: &str) -> Self {
        let mut best: Option<(f32, Locale)> = None;
        for item in accepted.split(',').take(20) {
            let mut parts = item.split(';');
            let tag = parts.next().unwrap_or_default().trim().to_lowercase();
            let weight = parts.find_map(|p| p.trim().strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            let Some(locale) = Locale::parse(tag.split('-').next().unwrap_or_default()) else { continue };
            if weight > 0.0 && best.is_none_or(|(w, _)| weight > w) {
                best = Some((weight, locale));
            }
        }
        best.map(|(_, locale)| locale).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
