"""Word lists by which rules tell the words that carry a meaning from the words around them."""

from __future__ import annotations

# Function words only: articles, pronouns, prepositions, conjunctions, auxiliaries, question words and the most
# common adverbs of degree and place. Contractions stand without their apostrophe part, as a tokenizer leaves them.
STOP_WORDS = frozenset(
    """
    a an the this that these those such same other another each every either neither both all any some no none not
    many much more most few several own only
    i me my mine myself you your yours yourself yourselves he him his himself she her hers herself it its itself
    we us our ours ourselves they them their theirs themselves one ones oneself
    who whom whose which what when where why how whoever whatever whichever whenever wherever
    am is are was were be been being do does did doing done have has had having can could may might must shall should
    will would ought cannot don doesn didn isn aren wasn weren hasn haven hadn won wouldn shouldn couldn ain let
    and or nor but if then else so yet because although though while whereas unless until since whether than as lest
    of at by for with without within about against between among amongst through throughout during before after above
    below beneath beside besides to from up upon down in into inside on onto off out outside over under around across
    along toward towards behind beyond near per via despite except like unlike
    too very just also even still already again once here there now ever never always often sometimes rather quite
    almost perhaps maybe thus hence therefore however otherwise instead anyway
    e.g i.e etc vs cf
    """.split()
)

# Function words of other European languages, without those that are also English words.
FOREIGN_FUNCTION_WORDS = (
    frozenset(
        """
    der die das den dem des ein eine einen einem einer eines und oder aber ist sind war waren wird wurde wurden hat
    haben hatte ich du er sie es wir ihr nicht kein keine mit von vom zu zum zur bei beim nach aus auf im ins für über
    unter durch gegen ohne um als wie wenn dass daß auch noch nur schon sehr sich seit bis zwischen heute gestern morgen
    le la les un une du et ou est sont était dans sur avec pour par chez vers sans sous entre mais donc que qui quoi
    dont où ce cette ces cet il elle ils elles nous vous je tu se sa ses leur leurs mon ma mes ton ta tes notre votre
    au aux en ne pas plus très hier aujourd
    el los las una uno unos unas y o es son era fue con para del al lo su sus mi mis tu tus pero como cuando donde
    muy más sin sobre desde hasta entre este esta estos estas ese esa nos ayer hoy
    gli i uno della dello delle degli dei del dal dalla alla allo nel nella sul sulla ed è sono che chi non anche
    con per tra fra più questo questa ieri oggi ha hanno
    het een van voor naar bij uit aan op te zijn werd worden niet geen maar ook dat deze dit wij zij hij gisteren
    os um uma umas uns do da dos das em no na nos nas ao pelo pela com não são foi é mais ontem hoje
    och att det som för på av är var inte med till ett på og af til ikke jeg
    """.split()
    )
    - STOP_WORDS
)

MONTHS_AND_DAYS = frozenset(
    """
    january february march april may june july august september october november december jan feb mar apr jun jul aug
    sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri
    sat sun mondays tuesdays wednesdays thursdays fridays saturdays sundays
    januar februar märz mai juni juli oktober dezember
    """.split()
)

# Adjectives too vague to open a key phrase, although they do open names (New Zealand, Great Britain).
VAGUE_ADJECTIVES = frozenset(
    """
    new old good bad great big small little large long short high low same different certain various possible
    impossible available able unable nice fine best better worst worse next last previous first second third final
    early late recent current currently other actual usual normal typical special specific particular general common
    important useful necessary appropriate suitable simple easy hard difficult full whole entire complete single
    multiple additional extra further real true false sure ready right wrong happy glad sorry free likely unlikely
    least less enough corresponding respective similar equivalent equal following given existing main own many
    two three four five six seven eight nine ten eleven twelve twenty thirty hundred thousand couple half double dozen
    older newer bigger smaller larger longer shorter higher lower lovely beautiful terrible awful huge tiny
    optional desired valid invalid fast slow interesting unclear original underlying
    trailing named arbitrary separate individual subsequent exact
    """.split()
)

# Words that are nouns as well as what a sentence, an instruction or a label opens with.
OPENERS = frozenset(
    """
    note notes example examples usage args arguments argument parameters parameter params return raise yield
    attributes methods method function functions class classes type types value values result results
    default defaults warning warnings error errors todo summary overview introduction conclusion background details
    agenda attendees participants action actions item items date location subject topic topics title author authors
    idea ideas question questions answer answers problem problems goal goals task tasks decision decisions step steps
    next people someone everyone nobody everything nothing something anyone anything
    dinner lunch breakfast coffee meeting meetings trip project budget list plan plans design test tests
    call email mail ask visit book meet set use start stop change check copy delete update move print read
    write run open close format sort split search log load save help show end find fix order pay pick post
    process record release report request review ride sign support talk travel turn walk wait watch work phone
    text data file files version interface wrapper helper decorator exception object objects instance instances
    string strings line lines number numbers byte bytes header headers option options code source event handler
    encoding protocol coroutine iterator name names size count index key keys field fields base mixin constructor
    draft paint clean cook drive match guess access block round store place scan fold attach dispatch
    """.split()
)

_PURE_VERBS = """
    accept achieve acquire add advise agree allow appear append apply arrange arrive assign assume attend avoid become
    begin believe belong bring buy calculate carry catch choose combine come compare compute confirm connect consider
    consist construct contain continue convert create decide decode define depend derive describe deserve determine
    discard discuss display eat emit enable encode ensure enter evaluate exist expect explain extract feel finish
    follow forget gather generate get give go grow guarantee handle happen have hear hold identify ignore implement
    import improve include inherit initialize initialise insert inspect install instantiate intend introduce invite
    invoke iterate join keep know learn leave lend lie like listen live lose love maintain make manage mean mention
    modify need normalize notify obtain occur offer override parse pass perform persist prefer prepare prevent produce
    promise propose prove provide publish put quote raise reach realise realize receive recommend recover reduce
    refer refine register reject remain remember remind remove rename render replace represent require resolve
    respond retrieve return say see seek seem select sell send serve serialize sit solve specify spend stand store
    suggest suppose take tell tend terminate think throw translate treat try understand unpack upgrade use validate
    verify want warn wish wonder worry own let fail stay protect execute isolate reopen blend fry simmer extend
    eliminate indicate correspond subtract adhere expire
"""

_IRREGULAR_FORMS = """
    began begun brought bought built came caught chose chosen drove driven ate eaten felt found forgot forgotten got
    gotten gave given went gone grew grown heard held kept knew known learnt left lent lost made meant met paid put ran
    read rose risen said saw seen sent set shown sat slept sold spent spoke spoken stood stuck swam taken took taught
    thought threw thrown told understood wore worn won wrote written became done does did thank thanks please hope
    hopes looks looking going trying using based cut drew drawn flew fell fallen hid hit hung laid led lay
    meets works crashes leaks starts stops sets ends helps shows shown supporting supported resulting
    starting ending running allowing look returns raises yields yielding supports exits thereof
"""

# Adverbs, time words and other words that end a key phrase; adverbs in -ly are told by their ending.
_PHRASE_ENDERS = """
    today yesterday tomorrow tonight week weeks month months year years hour hours minute minutes second seconds day
    days morning afternoon evening ago soon later earlier afterwards meanwhile finally well far away back together
    apart ahead anymore alone aside else forward twice thrice somehow somewhere anywhere everywhere nowhere
    bit lot lots kind kinds sort sorts way ways thing things stuff part parts case cases rest something anything
    everything nothing someone anyone everyone none true false null nil self ok okay yes hello hi dear regards whatever
    including according regarding depending concerning due instead plus minus times equals
    asynchronous optional abstract deprecated called passed used exported besides aloud vice versa
"""

_NOT_ADVERBS = frozenset(
    """
    family supply reply assembly italy july anomaly fly jelly monopoly butterfly daily weekly monthly quarterly yearly
    belly bully ally rally lily holly molly sally emily kelly billy folly jolly early only poly apply multiply anomaly
    sicily
    """.split()
)


def _forms(verb: str) -> tuple[str, str, str, str]:
    """The base, third person, past and -ing form of a regular verb (a doubled consonant is not needed to match)."""
    if verb.endswith("e"):
        return verb, verb + "s", verb + "d", verb[:-1] + "ing"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb, verb[:-1] + "ies", verb[:-1] + "ied", verb + "ing"
    ending = "es" if verb.endswith(("s", "x", "sh", "ch", "o")) else "s"
    return verb, verb + ending, verb + "ed", verb + "ing"


# Verbs that are hardly ever nouns, in all their forms, and the adverbs and vague nouns that end a key phrase.
PHRASE_BREAKERS = (
    frozenset(form for verb in _PURE_VERBS.split() for form in _forms(verb))
    | frozenset("getting putting cutting setting running sitting beginning forgetting stopping referring".split())
    | frozenset(_IRREGULAR_FORMS.split())
    | frozenset(_PHRASE_ENDERS.split())
) - STOP_WORDS


def is_adverb(word: str) -> bool:
    """Whether a lower-case word looks like an adverb in -ly."""
    return word.endswith("ly") and len(word) > 4 and word not in _NOT_ADVERBS
