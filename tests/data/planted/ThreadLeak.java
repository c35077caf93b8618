import java.util.Scanner;
import java.util.concurrent.CountDownLatch;

/** Starts a thread for every subscriber and ends none: "grow N" brings N subscribers. */
public class ThreadLeak {
    private static final CountDownLatch NEVER = new CountDownLatch(1);
    private static int subscribers;

    public static void main(String[] arguments) throws Exception {
        System.out.println("ready");
        Scanner commands = new Scanner(System.in);
        while (commands.hasNext() && commands.next().equals("grow")) {
            int more = commands.nextInt();
            CountDownLatch started = new CountDownLatch(more);
            for (int i = 0; i < more; i++) {
                subscribe(started);
            }
            started.await();
            System.out.println("grown");
        }
    }

    private static void subscribe(CountDownLatch started) {
        Thread thread = new Thread(() -> listen(started), "subscriber-" + subscribers++);
        thread.setDaemon(true);
        thread.start();
    }

    private static void listen(CountDownLatch started) {
        started.countDown();
        try {
            NEVER.await();
        } catch (InterruptedException ended) {
            Thread.currentThread().interrupt();
        }
    }
}
