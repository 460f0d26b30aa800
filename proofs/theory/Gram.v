(** The exact check of a norm: integers in, true or false out.

    For an integer matrix R of n rows and any integer matrix U, [gram_holds] computes R R^T + U U^T and compares the
    absolute sums of its rows with T. Where none is above T, ||R||^2 <= T (gram_row_sums_bound of Dominance.v). *)

From Coq Require Import Arith ZArith List Bool Lia Reals Lra.
From Lipverify Require Import Packing.
From Lipverify Require Sums Vectors Dominance.
Import ListNotations.
Open Scope Z_scope.

(** ** Products of whole matrices, with entries that are wide enough *)

Definition weight (l : list Z) : Z := fold_right (fun v s => Z.abs v + s) 0 l.
Definition peak (l : list Z) : Z := fold_right (fun v s => Z.max (Z.abs v) s) 0 l.
Definition largest (f : list Z -> Z) (a : list row) : Z := fold_right (fun r s => Z.max (f (entries r)) s) 0 a.

(** Bits that hold every entry of a b, and the sign. *)
Definition width (a b : list row) : Z := Z.log2 (largest weight a * largest peak b) + 2.

Definition product (a b : list row) : list row :=
  let w := width a b in
  let p := map (packed_of w) b in
  map (fun r => combination w (entries r) (skipn (first r) p)) a.

Lemma weight_nonneg l : 0 <= weight l.
Proof. induction l as [|v l IH]; simpl; lia. Qed.

Lemma largest_nonneg f a : 0 <= largest f a.
Proof. induction a as [|r a IH]; simpl; lia. Qed.

Lemma largest_above f a r : In r a -> f (entries r) <= largest f a.
Proof.
  induction a as [|s a IH]; simpl; [intros []|]. intros [->|inside]; [|specialize (IH inside)]; lia.
Qed.

Lemma nth_peak l j : Z.abs (nth j l 0) <= peak l.
Proof.
  revert j. induction l as [|v l IH]; intros [|j]; simpl; try lia. specialize (IH j). lia.
Qed.

Lemma coef_peak b r j : In r b -> Z.abs (coef r j) <= largest peak b.
Proof.
  intros inside. pose proof (largest_above peak b r inside). pose proof (largest_nonneg peak b).
  unfold coef. destruct (j <? first r)%nat; [simpl; lia|]. pose proof (nth_peak (entries r) (j - first r)). lia.
Qed.

Lemma mix_weight a b j c : (forall r, In r b -> Z.abs (coef r j) <= c) -> 0 <= c -> Z.abs (mix a b j) <= weight a * c.
Proof.
  intros each nonneg. revert b each. induction a as [|v a IH]; intros b each; [simpl; lia|].
  pose proof (weight_nonneg a). destruct b as [|r b]; [simpl; nia|]. simpl.
  assert (Z.abs (mix a b j) <= weight a * c) by (apply IH; intros s inside; apply each; right; exact inside).
  pose proof (each r (or_introl eq_refl)). pose proof (Z.abs_mul v (coef r j)).
  pose proof (Z.abs_triangle (v * coef r j) (mix a b j)). nia.
Qed.

Lemma mix_sum a b j : mix a b j = zsum (length b) (fun k => nth k a 0 * coef (nth k b empty) j).
Proof.
  revert a. induction b as [|r b IH]; intros a; [destruct a; reflexivity|].
  simpl length. rewrite zsum_first. destruct a as [|v a].
  - simpl. symmetry. apply zsum_zero; intros k _. ring.
  - simpl. rewrite IH. reflexivity.
Qed.

Lemma nth_of_skipn {A} n (l : list A) k d : nth k (skipn n l) d = nth (n + k) l d.
Proof. revert n. induction l as [|x l IH]; intros [|n]; simpl; try reflexivity; [destruct k; reflexivity | apply IH]. Qed.

(** The row r times the matrix b, whose first rows count for nothing. *)
Lemma mix_row r b j :
  mix (entries r) (skipn (first r) b) j = zsum (length b) (fun k => coef r k * coef (nth k b empty) j).
Proof.
  rewrite mix_sum, skipn_length. destruct (Nat.le_gt_cases (first r) (length b)) as [inside|beyond].
  - replace (length b) with (first r + (length b - first r))%nat at 2 by lia. rewrite zsum_add.
    rewrite (zsum_zero (first r)) by (intros k below; rewrite coef_before by exact below; ring).
    apply zsum_ext; intros k _. rewrite coef_from, nth_of_skipn. reflexivity.
  - replace (length b - first r)%nat with O by lia. symmetry. apply zsum_zero; intros k below.
    rewrite coef_before by lia. ring.
Qed.

Lemma in_skipn {A} n (l : list A) x : In x (skipn n l) -> In x l.
Proof. intros inside. rewrite <- (firstn_skipn n l). apply in_or_app. right. exact inside. Qed.

Theorem product_correct a b i j :
  (i < length a)%nat ->
  coef (nth i (product a b) empty) j
  = zsum (length b) (fun k => coef (nth i a empty) k * coef (nth k b empty) j).
Proof.
  intros below. unfold product. set (w := width a b).
  rewrite (nth_indep _ empty (combination w (entries empty) (skipn (first empty) (map (packed_of w) b))))
    by (rewrite map_length; exact below).
  rewrite (map_nth (fun r => combination w (entries r) (skipn (first r) (map (packed_of w) b)))).
  set (r := nth i a empty). rewrite skipn_map.
  assert (forall l, Z.abs (mix (entries r) (skipn (first r) b) l) < 2 ^ (w - 1)) as small.
  { intros l. pose proof (largest_nonneg peak b) as Hp. pose proof (largest_nonneg weight a) as Hw.
    assert (weight (entries r) <= largest weight a) by (apply largest_above, nth_In, below).
    assert (Z.abs (mix (entries r) (skipn (first r) b) l) <= weight (entries r) * largest peak b).
    { apply mix_weight; [|exact Hp]. intros s inside. apply coef_peak, (in_skipn (first r)), inside. }
    assert (largest weight a * largest peak b < 2 ^ (w - 1)); [|nia].
    unfold w, width. set (x := largest weight a * largest peak b).
    replace (Z.log2 x + 2 - 1) with (Z.succ (Z.log2 x)) by lia.
    destruct (Z_le_gt_dec x 0) as [none|some].
    - assert (0 < 2 ^ Z.succ (Z.log2 x)); [|lia]. apply Z.pow_pos_nonneg; [lia|]. pose proof (Z.log2_nonneg x). lia.
    - apply Z.log2_spec. lia. }
  rewrite combination_correct; [apply mix_row | | exact small].
  unfold w, width. pose proof (Z.log2_nonneg (largest weight a * largest peak b)). lia.
Qed.

(** ** R R^T of a matrix that is given by its entries *)

Definition gram_rows (m n : nat) (entry : nat -> nat -> Z) : list row :=
  product (map (fun i => row_of n (entry i)) (seq 0 m)) (map (fun k => row_of m (fun i => entry i k)) (seq 0 n)).

Lemma nth_rows m (f : nat -> row) i : (i < m)%nat -> nth i (map f (seq 0 m)) empty = f i.
Proof.
  intros below. rewrite (nth_indep _ empty (f O)) by (rewrite map_length, seq_length; exact below).
  rewrite map_nth, seq_nth by exact below. reflexivity.
Qed.

Lemma gram_rows_length m n entry : length (gram_rows m n entry) = m.
Proof. unfold gram_rows, product. rewrite !map_length. apply seq_length. Qed.

Theorem gram_rows_correct m n entry i j :
  (i < m)%nat ->
  coef (nth i (gram_rows m n entry) empty) j
  = if (j <? m)%nat then zsum n (fun k => entry i k * entry j k) else 0.
Proof.
  intros below. unfold gram_rows. rewrite product_correct by (rewrite map_length, seq_length; exact below).
  rewrite map_length, seq_length.
  rewrite (zsum_ext n _ (fun k => if (j <? m)%nat then entry i k * entry j k else 0)).
  - destruct (j <? m)%nat; [reflexivity | apply zsum_zero; reflexivity].
  - intros k inside. rewrite !nth_rows by assumption. rewrite !row_of_coef.
    apply Nat.ltb_lt in inside. rewrite inside. destruct (j <? m)%nat; ring.
Qed.

(** ** Absolute sums of the rows of a sum *)

Fixpoint weight_of_sum (l m : list Z) : Z :=
  match l, m with
  | x :: l', y :: m' => Z.abs (x + y) + weight_of_sum l' m'
  | [], _ => weight m
  | _, [] => weight l
  end.

(** sum_j |g_j + p_j|. *)
Definition added_weight (g p : row) : Z :=
  if (first g <=? first p)%nat
  then weight_of_sum (entries g) (repeat 0 (first p - first g) ++ entries p)
  else weight_of_sum (repeat 0 (first g - first p) ++ entries g) (entries p).

Lemma weight_sum n l : (length l <= n)%nat -> weight l = zsum n (fun j => Z.abs (nth j l 0)).
Proof.
  revert n. induction l as [|v l IH]; intros n enough.
  - symmetry. apply zsum_zero. intros [|j] _; reflexivity.
  - destruct n as [|n]; simpl in enough; [lia|]. rewrite zsum_first. simpl. rewrite (IH n) by lia. reflexivity.
Qed.

Lemma weight_of_sum_correct n l m :
  (length l <= n)%nat -> (length m <= n)%nat ->
  weight_of_sum l m = zsum n (fun j => Z.abs (nth j l 0 + nth j m 0)).
Proof.
  revert n m. induction l as [|x l IH]; intros n m Hl Hm.
  - replace (weight_of_sum [] m) with (weight m) by (destruct m; reflexivity). rewrite (weight_sum n m Hm).
    apply zsum_ext. intros [|j] _; reflexivity.
  - destruct m as [|y m].
    + cbn [weight_of_sum]. rewrite (weight_sum n _ Hl). apply zsum_ext.
      intros [|j] _; simpl; rewrite Z.add_0_r; reflexivity.
    + destruct n as [|n]; simpl in Hl, Hm; [lia|]. rewrite zsum_first. simpl. rewrite (IH n) by lia. reflexivity.
Qed.

Lemma nth_repeat_app k l j : nth j (repeat 0 k ++ l) 0 = if (j <? k)%nat then 0 else nth (j - k) l 0.
Proof.
  destruct (Nat.ltb_spec j k) as [below|above].
  - rewrite app_nth1 by (rewrite repeat_length; exact below). apply nth_repeat.
  - rewrite app_nth2; rewrite repeat_length; [reflexivity | exact above].
Qed.

(** Whatever n is, the first n entries sum up to no more. *)
Theorem added_weight_bound n g p : zsum n (fun j => Z.abs (coef g j + coef p j)) <= added_weight g p.
Proof.
  set (low := Nat.min (first g) (first p)).
  set (large := (n + length (entries g) + length (entries p) + first g + first p)%nat).
  assert (added_weight g p = zsum large (fun j => Z.abs (coef g (low + j) + coef p (low + j)))) as ->.
  { unfold added_weight. destruct (Nat.leb_spec (first g) (first p)) as [less|more].
    - rewrite weight_of_sum_correct with (n := large)
        by (rewrite ?app_length, ?repeat_length; unfold large; lia).
      apply zsum_ext; intros j _. replace (low + j)%nat with (first g + j)%nat by (unfold low; lia).
      rewrite coef_from, nth_repeat_app. unfold coef.
      replace (first g + j <? first p)%nat with (j <? first p - first g)%nat
        by (destruct (Nat.ltb_spec j (first p - first g)), (Nat.ltb_spec (first g + j) (first p)); lia).
      do 2 f_equal. destruct (j <? _)%nat; [reflexivity|]. f_equal. lia.
    - rewrite weight_of_sum_correct with (n := large)
        by (rewrite ?app_length, ?repeat_length; unfold large; lia).
      apply zsum_ext; intros j _. replace (low + j)%nat with (first p + j)%nat by (unfold low; lia).
      rewrite coef_from, nth_repeat_app. unfold coef.
      replace (first p + j <? first g)%nat with (j <? first g - first p)%nat
        by (destruct (Nat.ltb_spec j (first g - first p)), (Nat.ltb_spec (first p + j) (first g)); lia).
      do 2 f_equal. destruct (j <? _)%nat; [reflexivity|]. f_equal. lia. }
  assert (forall k f, (forall j, 0 <= f j) -> 0 <= zsum k f) as nonneg.
  { intros k f each. induction k as [|k IH]; simpl; [lia | specialize (each k); lia]. }
  assert (zsum (low + large) (fun j => Z.abs (coef g j + coef p j))
    = zsum large (fun j => Z.abs (coef g (low + j) + coef p (low + j)))) as <-.
  { rewrite zsum_add, (zsum_zero low); [reflexivity|]. intros j below.
    rewrite !coef_before by (unfold low in below; lia). reflexivity. }
  replace (low + large)%nat with (n + (low + large - n))%nat by (unfold large; lia). rewrite zsum_add.
  pose proof (nonneg (low + large - n)%nat (fun j => Z.abs (coef g (n + j) + coef p (n + j))) ltac:(intros; lia)). lia.
Qed.

(** ** The check *)

Definition gram_holds (m n : nat) (entry factor : nat -> nat -> Z) (top : Z) : bool :=
  (0 <=? top) &&
  forallb (fun pair => added_weight (fst pair) (snd pair) <=? top)
    (combine (gram_rows m n entry) (gram_rows m m factor)).

Lemma zsum_real n f : IZR (zsum n f) = Sums.sum n (fun i => IZR (f i)).
Proof. induction n as [|n IH]; simpl; [reflexivity|]. rewrite plus_IZR, IH. reflexivity. Qed.

Theorem gram_holds_sound m n entry factor top :
  gram_holds m n entry factor top = true -> Vectors.bounded n m (fun i j => IZR (entry i j)) (IZR top).
Proof.
  unfold gram_holds. intros holds. apply andb_prop in holds as [nonneg rows]. apply Z.leb_le in nonneg.
  rewrite forallb_forall in rows.
  apply (Dominance.gram_row_sums_bound m n m _ (fun i j => IZR (factor i j))); [apply IZR_le; exact nonneg|].
  intros i below.
  set (g := nth i (gram_rows m n entry) empty). set (p := nth i (gram_rows m m factor) empty).
  assert (added_weight g p <= top) as row.
  { apply Z.leb_le. apply (rows (g, p)). unfold g, p. rewrite <- combine_nth by (rewrite !gram_rows_length; reflexivity).
    apply nth_In. rewrite combine_length, !gram_rows_length. lia. }
  apply Rle_trans with (IZR (zsum m (fun j => Z.abs (coef g j + coef p j)))).
  - right. rewrite zsum_real. apply Sums.sum_ext; intros j inside. rewrite abs_IZR, plus_IZR.
    unfold g, p. rewrite !gram_rows_correct by exact below. apply Nat.ltb_lt in inside. rewrite inside, !zsum_real.
    f_equal. f_equal; apply Sums.sum_ext; intros k _; rewrite mult_IZR; reflexivity.
  - apply IZR_le. eapply Z.le_trans; [apply added_weight_bound | exact row].
Qed.
