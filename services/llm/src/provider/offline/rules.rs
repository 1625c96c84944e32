//! The mistakes that the offline tutor knows: for each language what learners write, what is right, and why.

/// One mistake. Words in lower case, separated by one space; `#` is a number.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) wrong: &'static str,
    pub(super) right: &'static str,
    pub(super) why: &'static str,
    /// The mistake is the case itself.
    pub(super) exact_case: bool,
}

const fn r(wrong: &'static str, right: &'static str, why: &'static str) -> Rule {
    Rule { wrong, right, why, exact_case: false }
}

const fn case(wrong: &'static str, right: &'static str, why: &'static str) -> Rule {
    Rule { wrong, right, why, exact_case: true }
}

/// Whether the language is written without spaces between words.
pub(super) fn without_spaces(language: &str) -> bool {
    matches!(language, "zh" | "ja")
}

pub(super) fn of(language: &str) -> &'static [Rule] {
    match language {
        "en" => ENGLISH,
        "fr" => FRENCH,
        "es" => SPANISH,
        "it" => ITALIAN,
        "de" => GERMAN,
        "pt" => PORTUGUESE,
        "zh" => CHINESE,
        "ja" => JAPANESE,
        "ru" => RUSSIAN,
        _ => &[],
    }
}

const ENGLISH: &[Rule] = &[
    r("i am go", "I am going", "the present continuous wants the -ing form"),
    r("i goed", "I went", "the past of go is went"),
    r("he go", "he goes", "he, she and it want an -s in the present"),
    r("she go", "she goes", "he, she and it want an -s in the present"),
    r("he have", "he has", "the third person of have is has"),
    r("she have", "she has", "the third person of have is has"),
    r("i has", "I have", "has belongs to he, she and it"),
    r("he don't", "he doesn't", "the third person of don't is doesn't"),
    r("she don't", "she doesn't", "the third person of don't is doesn't"),
    r("it don't", "it doesn't", "the third person of don't is doesn't"),
    r("i have # years", "I am # years old", "English says an age with to be"),
    r("i am agree", "I agree", "agree is a verb and needs no to be"),
    r("more better", "better", "better is the comparative already"),
    r("more easier", "easier", "easier is the comparative already"),
    r("informations", "information", "information has no plural"),
    r("advices", "advice", "advice has no plural"),
    r("homeworks", "homework", "homework has no plural"),
    r("peoples", "people", "people is a plural already"),
    r("childs", "children", "the plural of child is children"),
    r("depend of", "depend on", "depend takes on"),
    r("depends of", "depends on", "depend takes on"),
    r("married with", "married to", "married takes to"),
    r("interested on", "interested in", "interested takes in"),
    r("since # years", "for # years", "for goes with a length of time, since with its beginning"),
    r("i didn't went", "I didn't go", "after didn't comes the plain form"),
    r("did you went", "did you go", "after did comes the plain form"),
    r("yesterday i go", "yesterday I went", "yesterday wants the past"),
    r("i can to", "I can", "after can comes the plain form without to"),
    r("must to", "must", "after must comes the plain form without to"),
    case("english", "English", "languages have a capital letter in English"),
    case("french", "French", "languages have a capital letter in English"),
    case("spanish", "Spanish", "languages have a capital letter in English"),
    case("i", "I", "the pronoun I always has a capital letter"),
];

const FRENCH: &[Rule] = &[
    r("je suis # ans", "j'ai # ans", "l'\u{e2}ge se dit avec avoir"),
    r("je va", "je vais", "aller \u{e0} la premi\u{e8}re personne : je vais"),
    r("j'ai all\u{e9}", "je suis all\u{e9}", "aller se conjugue avec \u{ea}tre"),
    r("j'ai arriv\u{e9}", "je suis arriv\u{e9}", "arriver se conjugue avec \u{ea}tre"),
    r("j'ai n\u{e9}", "je suis n\u{e9}", "na\u{ee}tre se conjugue avec \u{ea}tre"),
    r("\u{e0} le", "au", "\u{e0} + le se contracte en au"),
    r("\u{e0} les", "aux", "\u{e0} + les se contracte en aux"),
    r("de le", "du", "de + le se contracte en du"),
    r("de les", "des", "de + les se contracte en des"),
    r("si j'aurais", "si j'avais", "apr\u{e8}s si, l'imparfait et non le conditionnel"),
    r("la probl\u{e8}me", "le probl\u{e8}me", "probl\u{e8}me est masculin"),
    r("un probl\u{e8}me grave que", "un probl\u{e8}me grave dont", "parler d'un probl\u{e8}me : dont"),
    r("le voiture", "la voiture", "voiture est f\u{e9}minin"),
    r("le maison", "la maison", "maison est f\u{e9}minin"),
    r("malgr\u{e9} que", "bien que", "malgr\u{e9} est suivi d'un nom ; bien que, du subjonctif"),
    r("plus bon", "meilleur", "le comparatif de bon est meilleur"),
    r("plus mieux", "mieux", "mieux est d\u{e9}j\u{e0} un comparatif"),
    r("je suis faim", "j'ai faim", "la faim se dit avec avoir"),
    r("je suis froid", "j'ai froid", "le froid ressenti se dit avec avoir"),
    r("il faut que je vais", "il faut que j'aille", "il faut que demande le subjonctif"),
    r("des chevals", "des chevaux", "le pluriel de cheval est chevaux"),
];

const SPANISH: &[Rule] = &[
    r("la problema", "el problema", "problema es masculino"),
    r("una problema", "un problema", "problema es masculino"),
    r("el mano", "la mano", "mano es femenino"),
    r("yo soy cansado", "yo estoy cansado", "un estado se dice con estar"),
    r("soy cansado", "estoy cansado", "un estado se dice con estar"),
    r("soy # a\u{f1}os", "tengo # a\u{f1}os", "la edad se dice con tener"),
    r("estoy # a\u{f1}os", "tengo # a\u{f1}os", "la edad se dice con tener"),
    r("muchas gente", "mucha gente", "gente es singular"),
    r("m\u{e1}s bueno", "mejor", "el comparativo de bueno es mejor"),
    r("m\u{e1}s mejor", "mejor", "mejor ya es un comparativo"),
    r("yo gusta", "me gusta", "gustar se usa con me, te, le"),
    r("yo gusto", "me gusta", "gustar se usa con me, te, le"),
    r("yo sabo", "yo s\u{e9}", "la primera persona de saber es s\u{e9}"),
    r("a el", "al", "a + el se contrae en al"),
    r("de el", "del", "de + el se contrae en del"),
    r("depende en", "depende de", "depender lleva de"),
    r("he escribido", "he escrito", "el participio de escribir es escrito"),
    r("he hacido", "he hecho", "el participio de hacer es hecho"),
];

const ITALIAN: &[Rule] = &[
    r("io ho andato", "io sono andato", "andare vuole essere"),
    r("ho andato", "sono andato", "andare vuole essere"),
    r("ho arrivato", "sono arrivato", "arrivare vuole essere"),
    r("sono # anni", "ho # anni", "l'et\u{e0} si dice con avere"),
    r("la problema", "il problema", "problema \u{e8} maschile"),
    r("il mano", "la mano", "mano \u{e8} femminile"),
    r("pi\u{f9} buono", "migliore", "il comparativo di buono \u{e8} migliore"),
    r("pi\u{f9} meglio", "meglio", "meglio \u{e8} gi\u{e0} un comparativo"),
    r("a il", "al", "a + il diventa al"),
    r("di il", "del", "di + il diventa del"),
    r("in il", "nel", "in + il diventa nel"),
    r("se avrei", "se avessi", "dopo se, il congiuntivo"),
    r("io piace", "mi piace", "piacere si usa con mi, ti, gli"),
];

const GERMAN: &[Rule] = &[
    r("ich habe gegangen", "ich bin gegangen", "gehen bildet das Perfekt mit sein"),
    r("ich habe gekommen", "ich bin gekommen", "kommen bildet das Perfekt mit sein"),
    r("ich habe # jahre", "ich bin # Jahre", "das Alter steht mit sein"),
    r("mit mein freund", "mit meinem Freund", "mit verlangt den Dativ"),
    r("mit meine freundin", "mit meiner Freundin", "mit verlangt den Dativ"),
    r("in die kino", "ins Kino", "Kino ist s\u{e4}chlich: in das wird ins"),
    r("zu der bahnhof", "zum Bahnhof", "zu + dem wird zum"),
    r("der m\u{e4}dchen", "das M\u{e4}dchen", "alles mit -chen ist s\u{e4}chlich"),
    r("die m\u{e4}dchen ist", "das M\u{e4}dchen ist", "alles mit -chen ist s\u{e4}chlich"),
    r("mehr besser", "besser", "besser ist schon der Komparativ"),
    r("mehr gut", "besser", "der Komparativ von gut ist besser"),
    r("gr\u{f6}\u{df}er wie", "gr\u{f6}\u{df}er als", "nach dem Komparativ steht als"),
    r("besser wie", "besser als", "nach dem Komparativ steht als"),
    r("ich bin heiss", "mir ist hei\u{df}", "die Empfindung steht mit dem Dativ"),
    r("ich bin kalt", "mir ist kalt", "die Empfindung steht mit dem Dativ"),
    r("wegen dem wetter", "wegen des Wetters", "wegen verlangt den Genitiv"),
];

const PORTUGUESE: &[Rule] = &[
    r("a problema", "o problema", "problema \u{e9} masculino"),
    r("uma problema", "um problema", "problema \u{e9} masculino"),
    r("eu tem", "eu tenho", "a primeira pessoa de ter \u{e9} tenho"),
    r("eu sou # anos", "eu tenho # anos", "a idade diz-se com ter"),
    r("sou # anos", "tenho # anos", "a idade diz-se com ter"),
    r("mais bom", "melhor", "o comparativo de bom \u{e9} melhor"),
    r("mais melhor", "melhor", "melhor j\u{e1} \u{e9} comparativo"),
    r("mais grande", "maior", "o comparativo de grande \u{e9} maior"),
    r("em o", "no", "em + o contrai-se em no"),
    r("de o", "do", "de + o contrai-se em do"),
    r("a gente vamos", "a gente vai", "a gente pede o verbo no singular"),
    r("n\u{f3}s vai", "n\u{f3}s vamos", "n\u{f3}s pede vamos"),
    r("para mim fazer", "para eu fazer", "antes do verbo, o pronome \u{e9} eu"),
];

const CHINESE: &[Rule] = &[
    r("我是饿", "我饿了", "形容词作谓语时不用“是”"),
    r("我是累", "我很累", "形容词作谓语时用“很”，不用“是”"),
    r("二个", "两个", "量词前用“两”"),
    r("我不有", "我没有", "“有”的否定是“没有”"),
    r("三书", "三本书", "数词和名词之间要有量词"),
    r("一人苹果", "一个苹果", "苹果的量词是“个”"),
    r("见面他", "跟他见面", "“见面”不带宾语，用“跟……见面”"),
    r("我昨天不去", "我昨天没去", "过去的否定用“没”"),
];

const JAPANESE: &[Rule] = &[
    r("食べるました", "食べました", "「ます」の前は連用形「食べ」です"),
    r("飲むました", "飲みました", "「ます」の前は連用形「飲み」です"),
    r("行くました", "行きました", "「ます」の前は連用形「行き」です"),
    r("好きくない", "好きじゃない", "「好き」はな形容詞です"),
    r("きれいくない", "きれいじゃない", "「きれい」はな形容詞です"),
    r("高いでした", "高かったです", "い形容詞の過去形は「〜かったです」です"),
    r("おいしいでした", "おいしかったです", "い形容詞の過去形は「〜かったです」です"),
    r("学生だです", "学生です", "「だ」と「です」は一緒に使いません"),
    r("日本へに", "日本に", "助詞は一つで足ります"),
];

const RUSSIAN: &[Rule] = &[
    r("я имею # лет", "мне # лет", "возраст говорят с дательным падежом"),
    r("я есть # лет", "мне # лет", "возраст говорят с дательным падежом"),
    r("более лучше", "лучше", "«лучше» уже сравнительная степень"),
    r("я иметь", "у меня есть", "обладание: у меня есть"),
    r("я хочет", "я хочу", "первое лицо: хочу"),
    r("он хочу", "он хочет", "третье лицо: хочет"),
    r("в работу каждый день", "на работу каждый день", "говорят: на работу"),
    r("пять год", "пять лет", "после пяти: лет"),
    r("два книги", "две книги", "книга женского рода: две"),
    r("я скучаю за тебя", "я скучаю по тебе", "скучать по кому"),
];
