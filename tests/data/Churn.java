import java.util.ArrayList;
import java.util.List;
import java.util.Scanner;

/** Keeps or drops as many megabytes as it is told: one command a line on stdin, "ok" as the answer. */
public class Churn {
    /** Well below half of a region of G1 (1 MB at least), so that an array takes what it is long. */
    private static final int CHUNK_BYTES = 62_500;
    private static final int CHUNKS_IN_MB = 16;

    private static final List<byte[]> kept = new ArrayList<>();
    private static byte[] dropped;

    public static void main(String[] arguments) {
        System.out.println("ready");
        Scanner commands = new Scanner(System.in);
        while (commands.hasNext()) {
            obey(commands.next(), commands.nextInt());
            System.out.println("ok");
        }
    }

    private static void obey(String command, int megabytes) {
        switch (command) {
            case "keep" -> allocate(megabytes, true);
            case "churn" -> allocate(megabytes, false);
            case "collect" -> System.gc();
            default -> throw new IllegalArgumentException(command);
        }
    }

    private static void allocate(int megabytes, boolean keep) {
        for (int i = 0; i < megabytes * CHUNKS_IN_MB; i++) {
            dropped = new byte[CHUNK_BYTES];
            if (keep) {
                kept.add(dropped);
            }
        }
    }
}
