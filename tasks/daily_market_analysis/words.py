"""The words that the classification knows, as regular expressions without regard to capitals."""

TOPICS = {
    "trend": r"trend\w*|direction|which way|up|down|ris(?:e|es|ing|en)|rose|falling|climb\w*|rally\w*"
    r"|bull\w*|bear\w*|momentum|moving averages?",
    "volatility": r"volatil\w*|risk\w*|swings?|nervous|calm|turbulen\w*|uncertain\w*|value at risk|safe\w*",
    "drawdown": r"drawdowns?|crash\w*|fell|falls?|loss(?:es)?|lose|lost|recover\w*|correction|slump\w*"
    r"|worst|how deep|peak",
    "season": r"season\w*|months?|calendar|time of (?:the )?year|sell in may",
    "correlation": r"correlat\w*|diversif\w*|hedg\w*|together|compar\w*|relat\w*|versus|vs",
    "price": r"prices?|level|stands?|closed?|high(?:est)?|low(?:est)?|range|worth",
    "overview": r"overview|summar\w*|analy\w*|outlook|situation|buy\w*|sell\w*|invest\w*",
}
"""Topics and the words that tell them."""

MARKETS = {
    "SP500": r"s ?& ?p(?: ?500)?|sp ?500|spx|stock markets?|(?<!tech )(?<!technology )stocks?"
    r"|equit(?:y|ies)|shares",
    "NASDAQ": r"nasdaq|tech(?:nology)? stocks",
    "WTI": r"wti|oil|crude|petroleum",
}
"""The markets that there are prices of."""
ANY_MARKET = r"markets?|index|portfolio"
"""They say that a market is meant, but not which."""
ELSEWHERE = (
    r"gold|silver|copper|natural gas|wheat|bonds?|treasur(?:y|ies)|bitcoin|ethereum|crypto\w*|euro|dollar|yen"
    r"|dax|dow(?: jones)?|ftse|nikkei|apple|tesla|amazon|google|microsoft|nvidia|brent"
)
"""Some of those that people ask about and that there are no prices of."""
CAPITALS = r"AM|AND|CEO|CPI|ECB|EMA|ETF|EU|FED|GDP|IN|IS|OK|OR|PM|SMA|THE|UK|US|USA|USD|VAR|YTD"
"""Words in capitals that are no instrument; any others are taken for one."""

NOT_IN_PRICES = {
    r"why|because|reasons?|causes?|caused|news": "Prices do not tell the reasons behind them",
    r"earnings|dividends?|p/e|valuation|fundamental\w*|profits?|cheap|expensive|overvalued|undervalued": (
        "There are prices only, neither earnings nor dividends, so nothing is said about value"
    ),
    r"inflation|interest rates?|fed|ecb|central banks?|elections?|unemployment|gdp": (
        "There are no data about the economy"
    ),
}
"""What needs other data than prices, and what is said about it."""
CAUTIONS = {
    r"will|going to|tomorrow|next|forecast\w*|predict\w*|soon|outlook|future": (
        "Prices to come cannot be computed from past ones; this tells how things stand and used to go on"
    ),
    r"should i|buy\w*|sell|invest\w*": (
        "This is no investment advice; the task investment-committee-meeting weighs a purchase against limits"
    ),
}
"""What an answer from prices can only come near to."""

ABILITIES = (
    "It can tell about the S&P 500, the NASDAQ Composite and WTI crude oil: where the price stands, trend, "
    "risk and volatility, drawdowns, months of the year, and which of them move together"
)
