import java.util.*;
import org.elasticsearch.xpack.core.scheduler.Cron;

/**
 * Prints what Elasticsearch's own class says of random expressions, one to a line: the next two times in seconds,
 * "never", "refused", "hangs" (the class does not end), or "broken" (it ends in an error that is not meant for callers).
 *
 * cron.tsv is what it prints with the classes of Maven Central's org.elasticsearch.plugin:x-pack-core:7.17.0 and what
 * that depends on in the folder lib:
 *   javac -cp "lib/*" CronTable.java && java -ea -cp "lib/*:." CronTable 1795442400000 12500 > cron.tsv
 */
public class CronTable {
    static final Random random = new Random(18);
    static final String[] MONTHS = { "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC", "JANUARY", "SEPT", "june" };
    static final String[] DAYS = { "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "MONDAY", "friday", "THURS" };

    static int upTo(int n) { return random.nextInt(n); }
    static String pick(String... from) { return from[upTo(from.length)]; }

    static String number(int first, int last) {
        int n = upTo(30) == 0 ? last + 1 + upTo(40) : first + upTo(last - first + 1);
        if (upTo(60) == 0) n = Math.max(0, first - 1);
        return (n < 10 && upTo(10) == 0 ? "0" : "") + n;
    }

    static String item(int first, int last) {
        switch (upTo(12)) {
            case 0: case 1: return "*";
            case 2: return "*/" + upTo(last + 10);
            case 3: return "/" + upTo(last + 10);
            case 4: case 5: return number(first, last) + "/" + upTo(last * 2);
            case 6: return number(first, last) + "-" + number(first, last) + "/" + upTo(last + 8);
            case 7: case 8: return number(first, last) + "-" + number(first, last);
            default: return number(first, last);
        }
    }

    static String list(int first, int last) {
        StringBuilder text = new StringBuilder(item(first, last));
        while (upTo(4) == 0) text.append(',').append(item(first, last));
        return text.toString();
    }

    static String named(int first, int last, String[] names) {
        if (upTo(3) > 0) return list(first, last);
        StringBuilder text = new StringBuilder();
        do {
            if (text.length() > 0) text.append(',');
            text.append(pick(names));
            if (upTo(3) == 0) text.append('-').append(pick(names));
            if (upTo(8) == 0) text.append('/').append(upTo(5));
        } while (upTo(3) == 0);
        return text.toString();
    }

    static String dayOfMonth() {
        switch (upTo(14)) {
            case 0: return "L";
            case 1: return "LW";
            case 2: return "L-" + upTo(34);
            case 3: return "L-" + upTo(33) + "W";
            case 4: case 5: return number(1, 31) + "W";
            case 6: return number(1, 31) + "W," + number(1, 31) + (upTo(2) == 0 ? "W" : "");
            default: return list(1, 31);
        }
    }

    static String dayOfWeek() {
        switch (upTo(12)) {
            case 0: return "L";
            case 1: return number(1, 7) + "L";
            case 2: return pick(DAYS) + "L";
            case 3: return number(1, 7) + "#" + upTo(7);
            case 4: return pick(DAYS) + "#" + (1 + upTo(5));
            default: return named(1, 7, DAYS);
        }
    }

    static String year() {
        int from = 2015 + upTo(40);
        switch (upTo(6)) {
            case 0: return "*";
            case 1: return from + "-" + (from + upTo(20));
            case 2: return from + "/" + upTo(7);
            case 3: return from + "," + (2015 + upTo(40));
            case 4: return from + "-" + (from + upTo(20)) + "/" + (1 + upTo(5));
            default: return "" + from;
        }
    }

    static String expression() {
        boolean ofMonth = upTo(2) == 0;
        List<String> fields = new ArrayList<>(Arrays.asList(list(0, 59), list(0, 59), list(0, 23),
            ofMonth ? dayOfMonth() : "?", named(1, 12, MONTHS), ofMonth ? "?" : dayOfWeek()));
        if (upTo(5) == 0) fields.add(year());
        if (upTo(80) == 0) fields.remove(upTo(fields.size()));
        if (upTo(80) == 0) fields.set(upTo(fields.size()), pick("?", "*", "L", "W", "#", "-", "/", "5-", "1,,2", "x"));
        return String.join(" ", fields);
    }

    static String said(String text, long from) {
        try {
            Cron cron = new Cron(text);
            StringBuilder times = new StringBuilder();
            long at = from;
            for (int i = 0; i < 2 && at >= 0; i++) {
                at = cron.getNextValidTimeAfter(at);
                times.append(i == 0 ? "" : " ").append(at < 0 ? "never" : Long.toString(at / 1000));
            }
            return times.toString();
        } catch (IllegalArgumentException refused) {
            return "refused";
        } catch (RuntimeException | AssertionError broken) {
            return "broken " + broken.getClass().getSimpleName();
        }
    }

    public static void main(String[] args) throws InterruptedException {
        long from = Long.parseLong(args[0]);
        int wanted = Integer.parseInt(args[1]);
        Set<String> seen = new HashSet<>();
        while (seen.size() < wanted) {
            String text = expression();
            if (!seen.add(text)) continue;
            String[] said = { "hangs" };
            Thread thread = new Thread(() -> said[0] = said(text, from));
            thread.setDaemon(true);
            thread.start();
            thread.join(1000);
            // Elasticsearch's search for the next time does not end for some.
            if (thread.isAlive()) thread.stop();
            System.out.println(text + "\t" + said[0]);
        }
    }
}
