"""Words that are written with a full stop which may end no sentence, and words that begin one.

The language of a text is not known, so each table has the words of many. Words that are common in
some language without a full stop are left out, or stand here only as they are written with one.
"""

from __future__ import annotations

from typing import Final


def _as_written(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _without_case(text: str) -> frozenset[str]:
    return frozenset(text.casefold().split())


def _small_or_capital(text: str) -> frozenset[str]:
    words = text.split()
    return frozenset([*words, *map(str.capitalize, words)])


PREFIXES: Final = _small_or_capital(
    """
    mr mrs messrs ms dr drs prof profs capt cpt lt sgt cpl cmdr pvt supt insp msgr esq st sts mt
    mts vs cf viz approx e.g i.e eg incl excl attn bldg rm apts hwy pkwy rte univ asst regd sra
    sres sras srta srtas dra dras dña lic arq mtra mtro gral cnel cdte mons hno hna ud uds vd vds
    avda avd cra carr pza plza plz pzla edif mpio urb apdo apto dpto depto núm nums núms tlf teléf
    tfno cód p.ej ej cía ee dto profa profas exmo exma ilmo ilma eng enga pça estr trav lj cj jd
    cx obs v.sa cia aprox mme mmes mlle mlles mgr vve bld boul fbg bât appt ét tél env p.ex c.-à-d
    n.b réf éd hrn frl dipl z.b d.h u.a o.ä z.t i.d.r bzw ca inkl exkl ggf evtl sog vgl zzgl abzgl
    bestellnr sig sigg sig.ra sig.na dott dott.ssa prof.ssa avv egr spett p.zza p.za v.le c.so
    l.go fraz ecc.mo ad.es dhr mevr bijv t.o t.a.v o.a m.b.t d.w.z i.p.v evt ул корп кв пр пр-т пл
    наб бул б-р бульв пер пос дер ш эт оф под просп р-н тов проф акад доц гр тел доб напр т.е т.н
    т.к св см ср табл гл разд цит стр ген полк лейт кап адм инж студ зав зам нач пред изд млн млрд
    тыс трлн godz inż św m.in tzw tzn woj pow bkz yakl örn doç yrd mah cad sok apt uzm sn blv tp
    ts ths bs gs pgs ks kts đt tx blk ofc pfc tpke acct lcdo lcda abg sgto tte gdor pdte fracc
    psje pje admón v.exa trv qd ilha rés betr bez einschl entspr etw geb gez hrsg i.a i.v lfd s.o
    z.hd z.zt zus hbf abt abs gent.mo ill.mo pagg ong m.a.w blz jl tys mln mld tj wg hab σελ βλ
    εκατ δις ευρ հեռ շ բն мкр тер лит вл соор т.о с.г κ κα κος δρ δρα λεωφ οδ τηλ π.χ δηλ αρ պրն
    տկն փող պող kl esim pvm dépt intl mfg mtn pty sdn вул буд
    excmo excmos excma excmas exmos exmas ilmos ilmas rvdo rvdos rvdmo rdo rdos ldo ldos licdo licda
    vda dtor dtora ntra ntro dptos deptos cfr adr coll gouv hôp imm niv équiv sez mitt compl adm
    fasc índ próx séc ggfs ehem jew allg gebr inh ausschl urspr eigtl näml amtl dtzd отд пгт
    kath evang staatl städt skt
    """
) | _as_written(
    """
    Bd Chr Ft TP EE MR MRS MS DR N.B VS
    Sr sr Rev Hon Gen Sen Gov Rep Adm Col Maj Pres Amb Bros Insp Fr Fl
    Ste Apt apt Bus Reg Av av Da D Dn Ing ing Cap cl ctra C.P col Adv Cel Ten Sto Sta Pe Al Rod R
    Ed ed Lt Pq Vl bl ap sl Tv M MM Me Mlle Mme Pr pl bd fg imp p.e Hr Mag Dipl zi Zi Bhf on Geom
    int V.le Dhr Mw ir Ir г д п ст стр с м н.э P al ul Pl os np Q H Đ ThS TS BS GS PGS डॉ डा श्री
    श्रीमती सुश्री कु प्रो पं स्व मो नं रु पो ले कै मे मि मी किमी किग्रा ग्रा सेमी क्र जि ता मु লি
    কোং তাং মোসা উপ মিমি সেমি গ্রা বি.দ্র ডা ড মি মিসেস মো মোঃ মোছা প্রফে অধ্যা ইঞ্জি নং পো লে
    শ্রী সে কিমি কেজি রু كم كغ سم مم ش ط ص ถ ต อ จ ซ น ดร นพ พญ ผศ รศ โทร เบอร์โทร
    Fa Fam
    """
)
"""Words that a name, a number or the rest of the sentence follows; no sentence ends with them."""

SPACED: Final = frozenset(
    {
        *(("ad", "es"), ("p.", "ex"), ("par", "ex")),
        *(("Dr.", word) for word in ("med", "dent", "vet", "jur", "iur", "phil", "rer")),
        *(("med.", "dent"), ("med.", "vet"), ("rer.", "nat"), ("rer.", "pol")),
    }
)
"""Pairs of words that are such a prefix together: `ad es. Roma`, `Dr. med. Weber`."""

SHORTENED: Final = _small_or_capital(
    """
    a.m p.m ph.d m.d etc inc ltd co corp jr bros llc plc dept jan feb apr aug sept oct nov dec mon
    tue tues wed thu thur thurs fri hr hrs min mins secs lb lbs oz ft yd yds tsp tbsp tbs pts qt
    kg km cm mm m.p.h max tel ext no nos nr nrs fig figs pp vol vols ch sec art arts par ver p est
    núm pág págs cap n.º nº n° ramal ph poste izq dcha of chap pag num piso qtd tlm ene abr ago
    dic lun mié jue vie sáb janv fév févr avr juil déc sam fev dez seg mär okt gen febb a.c d.c
    ltda h usw u.ä vb ecc enz itd itp т.д т.п др проч руб коп мин час сек п гл стр эл янв фев мар
    апр авг сен сент окт ноя нояб дек пн вт ср чт пт сб вс κ.λπ κλπ κ.ά π.μ μ.μ dk sa std uhr tl
    mo mos yr yrs wk wks doz pkg qty amt avg ref mtg sek stck kap pkt mio mrd jh mrz mrt juin
    juill mer jeu ven dim gio sab giu lug set ott wo vr za zo oca şub haz tem ağu eyl eki kas ara
    zł gr chf eur usd gbp hab vto dto bs pzs ud pz cj bl июн июл χλμ ώρ λεπ τ.μ թ մ
    deg ctr
    hz kb mb gb hnos tägl mtl jhrl февр нояб н.э
    """
) | _as_written(
    """
    A.M P.M AM PM NE NW SE SW KB MB GB temp cell ок рис resp misc orig
    Jun Jul Sep Sat Sun Mar Est Mo Di Mi Do Sa So
    إلخ الخ आदि
    """
)
"""Words that end no sentence before a digit or a word of `GO_ON`, as a day is."""

STREETS: Final = _small_or_capital(
    "ave av rd blvd ln ct pl sq ter cir trl expy cres pk hwy st dr str"
)
"""Words for a street that follow its name; the name of a place may follow them."""

NAMES_WITH_MARKS: Final = _as_written("yahoo yum jeopardy kahoot joomla wham")
"""Names that are written with an exclamation mark, in small letters."""

MONTHS: Final = _as_written(
    """
    january february march april june july august september october november december jan feb mar
    apr jun jul aug sep sept oct nov dec januar februar märz mai juni juli oktober dezember jänner
    marts maj
    """
)
"""Months with a capital, as they follow a day: `3. Oktober`."""

GO_ON: Final = MONTHS | _as_written(
    """
    monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thurs fri sat
    sun eastern central mountain pacific est edt cst cdt mst mdt pst pdt et ct pt gmt utc cet
    street avenue road boulevard drive lane suite apt unit floor room building inc ltd llc co jr
    corp blvd bhd
    montag dienstag mittwoch donnerstag freitag samstag sonntag lunes martes miércoles jueves
    viernes sábado domingo lundi mardi mercredi jeudi vendredi samedi dimanche
    """
)
"""Words with a capital that go on after an abbreviation: `at 2 p.m. Wednesday`."""

LABELLED: Final = _as_written(
    """
    vitamin vitamins vitamina vitamine витамин plan option opción opção block bloque bloco bloc
    class classe clase grade group grupo groupe gate type tipo size talla terminal building
    section bl bldg bât apt ap apto lot hall platform level version row zone gruppe klasse scala
    letter letra
    """
)
"""Words that a letter follows which is no initial: `vitamin C`."""

HESITATIONS: Final = _as_written(
    """
    嗯 呃 啊 哦 额 唔 喔 那 那个 这个 好 好的 我 我想 えー ええ えっと ええと あの あのう あのー
    うーん そうですね まあ では 음 어 네 저 그 글쎄요 그게 अच्छा हाँ हम्म तो खैर जी मैं আচ্ছা হুম
    তো হ্যাঁ আমি حسنًا حسنا طيب نعم آه أمم امم هم أنا อืม เอ่อ อ้อ คือ ອືມ
    """
)
"""What is said before a pause, in scripts without capitals: no sentence ends after it."""

DANDA_LETTERS: Final = _as_written(
    """
    ए बी सी डी ई एफ जी एच आई जे के एल एम एन ओ पी क्यू आर एस टी यू वी डब्ल्यू एक्स वाई এ বি সি ডি ই
    এফ জি এইচ আই জে কে এল এম এন ও পি কিউ আর এস টি ইউ ভি
    """
)
"""The names of Latin letters in Devanagari and Bengali, which stand for initials."""

BEFORE_ORDINAL: Final = _as_written(
    """
    am im vom zum beim ab bis der die das dem den des dein ihr ihre ihren ihrem unser jeder jede
    jeden und
    """
)
"""German words before an ordinal number: `am 3. Oktober`."""

STARTERS: Final = _without_case(
    """
    the a an this that these those there here it it's its i i'm i'll i've i'd you you'll you're
    you've your we we'll we're we've our they they're he she his her my is are was were do does
    did can could would will shall should have has had may please what which when where who why
    how and but or so if then after before once while because since until in on at for from to
    with as by not no yes okay ok sure thanks thank sorry let let's just also any anything anyone
    everything all both each some either now today tomorrow tonight yesterday however otherwise
    instead next first second finally call ask press take turn tell say go come see make give keep
    bring use wait hold stay look check try send write open enjoy welcome hello hi goodbye great
    perfect parking delivery el los las un una unos lo les se su sus mi mis tu yo usted ustedes él
    ella ellos nosotros me te es está son están hay ha era fue qué cuál cuándo dónde cómo quién
    cuánto por para con sin en pero si sí también después luego entonces antes ahora hoy mañana
    ayer gracias perfecto claro bueno espere marque llame pulse diga dígame puede podemos quiere
    tiene esto este esta ese esa eso así ya le l' une il elle ils elles nous vous je c'est ce cela
    ça cette ces cet votre vos notre nos mon ma mes ses leur est sont avez êtes voulez pouvez quel
    quelle quels qui que quoi quand où comment combien pourquoi et ou mais non oui aussi après
    avant ensuite alors maintenant demain merci d'accord très pour par avec sans dans sur à au aux
    y veuillez désolé désolée appelez tapez o os um uma ele ela eles elas nós eu você vocês seu
    sua seus suas meu minha é são há tem temos foi qual quais quando onde como quem quanto sem em
    na nas de e mas não também depois então agora hoje amanhã ontem obrigado obrigada certo bom
    aguarde disque ligue posso pode quer isso aquilo assim já lá aqui fica toque der die das den
    dem ein eine einen er sie wir ihr ich du mein ihre unser ist sind war hat haben kann können
    möchten wollen soll darf wird werden wer wie wo wann warum welche welcher und oder aber wenn
    dann danach jetzt heute morgen gestern ja nein nicht bitte danke gern auch mit ohne für von zu
    auf bei nach vor dort hier gli uno lui lei loro noi voi io sono hanno ho abbiamo può possiamo
    vuole che chi quale dove perché anche dopo poi prima ora adesso oggi domani ieri grazie prego
    bene ci vi per di da questo questa quello c'è ecco suoni het een dit hij zij ze u uw ik jij
    mijn ons onze zijn heeft hebben kan wilt wil zal mag wat waar wanneer hoe welke waarom maar
    als dan nu vandaag nee niet graag dank bedankt ook daar я ты он она оно мы вы они это этот эта
    эти то тот что кто какой какая какие когда где как сколько почему и а но или если не нет да в
    на с у к по о за из от до для при без вам вас ваш ваша наш мой его её их есть был была будет
    можно нужно могу хотите спасибо пожалуйста хорошо сейчас сегодня завтра вчера потом затем
    после там тут здесь так также всё все позвоните нажмите скажите рядом вход ten ona wy pan pani
    jest są czy co kto jaki jaka kiedy gdzie jak ile ale lub jeśli nie tak w z od dla proszę
    dziękuję dobrze teraz dziś jutro potem bu şu ben sen biz siz onlar ne kim hangi nasıl nerede
    kaç ve ama veya eğer evet hayır lütfen teşekkürler tamam şimdi bugün yarın sonra anh chị tôi
    bạn bên chúng đây đó có không vâng dạ xin cảm mai hôm khi nếu và ο η το οι τα ένας μια είναι
    έχει έχουμε θα να σας μου τι πού πώς πότε ποιο και αλλά αν ναι όχι με σε στο για από τώρα
    σήμερα αύριο την τον
    """
)
"""Words that often begin a sentence, in small letters."""
