//! What the offline tutor says besides corrections, in the language that is being learned.

/// The sentences of one language.
#[derive(Debug)]
pub(super) struct Phrases {
    /// That it is offline, and what that means.
    pub(super) offline: &'static str,
    pub(super) corrected: &'static str,
    pub(super) nothing_found: &'static str,
    /// One is asked in each turn.
    pub(super) questions: [&'static str; 3],
}

pub(super) fn of(language: &str) -> &'static Phrases {
    match language {
        "fr" => &FRENCH,
        "es" => &SPANISH,
        "it" => &ITALIAN,
        "de" => &GERMAN,
        "pt" => &PORTUGUESE,
        "zh" => &CHINESE,
        "ja" => &JAPANESE,
        "ru" => &RUSSIAN,
        _ => &ENGLISH,
    }
}

const ENGLISH: Phrases = Phrases {
    offline: "(Offline tutor: I know a fixed list of common mistakes, and nothing more.)",
    corrected: "I would correct this:",
    nothing_found: "I found none of the mistakes that I know.",
    questions: ["What did you do yesterday?", "What do you like to eat?", "Where would you like to travel?"],
};

const FRENCH: Phrases = Phrases {
    offline: "(Tuteur hors ligne : je connais une liste fixe de fautes courantes, et rien de plus.)",
    corrected: "Voici ce que je corrigerais :",
    nothing_found: "Je ne trouve aucune des fautes que je connais.",
    questions: ["Qu'avez-vous fait hier ?", "Qu'aimez-vous manger ?", "O\u{f9} aimeriez-vous voyager ?"],
};

const SPANISH: Phrases = Phrases {
    offline: "(Tutor sin conexi\u{f3}n: conozco una lista fija de errores comunes y nada m\u{e1}s.)",
    corrected: "Yo corregir\u{ed}a esto:",
    nothing_found: "No encuentro ninguno de los errores que conozco.",
    questions: [
        "\u{bf}Qu\u{e9} hiciste ayer?",
        "\u{bf}Qu\u{e9} te gusta comer?",
        "\u{bf}Ad\u{f3}nde te gustar\u{ed}a viajar?",
    ],
};

const ITALIAN: Phrases = Phrases {
    offline: "(Tutor non in linea: conosco un elenco fisso di errori comuni e nient'altro.)",
    corrected: "Correggerei questo:",
    nothing_found: "Non trovo nessuno degli errori che conosco.",
    questions: ["Che cosa hai fatto ieri?", "Che cosa ti piace mangiare?", "Dove vorresti viaggiare?"],
};

const GERMAN: Phrases = Phrases {
    offline: "(Tutor ohne Netz: Ich kenne eine feste Liste h\u{e4}ufiger Fehler und sonst nichts.)",
    corrected: "Das w\u{fc}rde ich verbessern:",
    nothing_found: "Ich finde keinen der Fehler, die ich kenne.",
    questions: ["Was hast du gestern gemacht?", "Was isst du gern?", "Wohin w\u{fc}rdest du gern reisen?"],
};

const PORTUGUESE: Phrases = Phrases {
    offline: "(Tutor sem liga\u{e7}\u{e3}o: conhe\u{e7}o uma lista fixa de erros comuns e nada mais.)",
    corrected: "Eu corrigiria isto:",
    nothing_found: "N\u{e3}o encontro nenhum dos erros que conhe\u{e7}o.",
    questions: ["O que fizeste ontem?", "O que gostas de comer?", "Para onde gostarias de viajar?"],
};

const CHINESE: Phrases = Phrases {
    offline: "（离线老师：我只认识一份固定的常见错误表。）",
    corrected: "我会这样改：",
    nothing_found: "没有发现我认识的错误。",
    questions: ["你昨天做了什么？", "你喜欢吃什么？", "你想去哪里旅行？"],
};

const JAPANESE: Phrases = Phrases {
    offline: "（オフラインの先生：よくある間違いの決まった一覧だけを知っています。）",
    corrected: "こう直します：",
    nothing_found: "知っている間違いは見つかりませんでした。",
    questions: ["昨日は何をしましたか。", "何を食べるのが好きですか。", "どこへ旅行したいですか。"],
};

const RUSSIAN: Phrases = Phrases {
    offline: "(Учитель без сети: я знаю только постоянный список частых ошибок.)",
    corrected: "Я бы исправил так:",
    nothing_found: "Я не нашёл ни одной из ошибок, которые знаю.",
    questions: ["Что вы делали вчера?", "Что вы любите есть?", "Куда вы хотели бы поехать?"],
};
